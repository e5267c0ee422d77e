//! What differs in who carries documents, and after which delay.

use std::collections::BTreeSet;

use custody::adoption::ADMINISTRATORS_LIMIT;
use custody::document::Kind;
use custody::name::Name;
use custody::policy::{Governance, Policy, describe};

use super::people::{Approvers, Implied, Need, People};
use super::{Aspect, Difference, Direction};
use crate::words;

/// All that differs between two policies in governance.
pub(crate) fn governance(policies: [&Policy; 2], people: &People<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    let kinds: BTreeSet<Kind> =
        policies.iter().flat_map(|policy| policy.governance.keys().copied()).collect();
    for (direction, denies, allows) in [(Direction::More, 0, 1), (Direction::Less, 1, 0)] {
        let [denies, allows]: [&Policy; 2] = [policies[denies], policies[allows]];
        for kind in &kinds {
            let of = |policy: &Policy| policy.governance.get(kind).cloned();
            let (before, after) = (of(policies[0]), of(policies[1]));
            let say = |aspect, undecided, example: String, text: fn(&Governance) -> String| {
                let side = |governance: &Option<Governance>| {
                    governance.as_ref().map_or_else(|| "nobody".to_owned(), text)
                };
                plain(direction, aspect, undecided, [side(&before), side(&after)], example)
            };
            let Some(allows) = of(allows) else { continue };
            let needs = vec![Need::new(&allows.approvals, 0, 0)];
            let denied = of(denies);
            let compared = match &denied {
                Some(denies) => people.implies(&needs, &[Need::new(&denies.approvals, 0, 0)]),
                None => people.satisfying(&needs),
            };
            let carried =
                |by: &Approvers| format!("a {} document approved by {}", kind.word(), words::list(by.keys()));
            let paths = |governance: &Governance| describe(&governance.approvals);
            match compared {
                Implied::Yes => {}
                Implied::No(by) => found.push(say(Aspect::Governance(*kind), false, carried(&by), paths)),
                Implied::Unknown => found.push(say(Aspect::Governance(*kind), true, String::new(), paths)),
            }
            if denied.is_some_and(|denies| denies.delay_s > allows.delay_s) {
                let (word, delay_s) = (kind.word(), allows.delay_s);
                let example = format!("a {word} document {delay_s} s after its last approval");
                let delay = |governance: &Governance| format!("{} s", governance.delay_s);
                found.push(say(Aspect::GovernanceDelay(*kind), false, example, delay));
            }
        }
        let most = |policy: &Policy| policy.administrators_max.unwrap_or(u32::MAX).min(ADMINISTRATORS_LIMIT);
        if most(allows) > most(denies) {
            let texts = policies.map(|policy| format!("at most {}", most(policy)));
            let example = format!("{} people in groups that carry documents", most(allows));
            found.push(plain(direction, Aspect::Administrators, false, texts, example));
        }
        let pairs = |policy: &Policy| -> BTreeSet<BTreeSet<Name>> {
            policy.exclusive.iter().map(|(one, other)| BTreeSet::from([one.clone(), other.clone()])).collect()
        };
        for pair in pairs(denies).difference(&pairs(allows)) {
            let pair = words::list(pair);
            let texts = policies.map(|policy| {
                let all: Vec<String> = pairs(policy).iter().map(words::list).collect();
                if all.is_empty() { "none".to_owned() } else { all.join("; ") }
            });
            let example = format!("one person in both of {pair}");
            found.push(plain(direction, Aspect::Exclusive, false, texts, example));
        }
    }
    found
}

fn plain(
    direction: Direction,
    aspect: Aspect,
    undecided: bool,
    [before, after]: [String; 2],
    example: String,
) -> Difference {
    Difference {
        direction,
        aspect,
        undecided,
        region: None,
        in_force: Vec::new(),
        draft: Vec::new(),
        before,
        after,
        example,
        request: None,
    }
}
