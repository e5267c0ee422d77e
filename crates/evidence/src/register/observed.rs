//! Which rows changed since somebody recorded how they stand.

use std::collections::BTreeMap;

use super::{Row, Standing};

/// How a row stood when it was recorded last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// How it stood; nothing if it was not asked for any more.
    pub standing: Option<Standing>,
    /// What was wrong.
    pub why: Option<String>,
}

/// A row that stands otherwise than it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// It stands like this now.
    Stands(&'a Row),
    /// Nobody asks for it any more, because its set was replaced. This is its id.
    Gone(&'a str),
}

/// What has to be recorded, in the order of the rows, where `recorded` is how each stood by its id. A row that was never
/// recorded was in order; what it is due at, or says beside, is no change.
pub fn changes<'a>(recorded: &'a BTreeMap<String, Recorded>, rows: &'a [Row]) -> Vec<Change<'a>> {
    let in_order = |id: &str| match recorded.get(id) {
        Some(Recorded { standing, .. }) => standing.is_none_or(|standing| standing == Standing::Ok),
        None => true,
    };
    let stands = |row: &Row| match recorded.get(&row.id) {
        _ if row.standing == Standing::Ok => in_order(&row.id),
        Some(Recorded { standing, why }) => (*standing, why) == (Some(row.standing), &row.why),
        None => false,
    };
    let changed = rows.iter().filter(|row| !stands(row)).map(Change::Stands);
    let asked = |id: &str| rows.iter().any(|row| row.id == id);
    let gone = recorded.keys().filter(|id| !in_order(id) && !asked(id));
    changed.chain(gone.map(|id| Change::Gone(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, standing: Standing, why: Option<&str>) -> Row {
        Row {
            id: id.into(),
            requirement: "REC-09",
            set: None,
            component: None,
            holder: None,
            site: None,
            what: "whole on paper".into(),
            standing,
            due_at: Some(7),
            why: why.map(str::to_owned),
        }
    }

    fn was(standing: Option<Standing>, why: Option<&str>) -> Recorded {
        Recorded { standing, why: why.map(str::to_owned) }
    }

    #[test]
    fn a_change_is_another_standing_or_reason() {
        use Standing::{Due, Failed, Ok, Overdue};
        type Case = (Option<Recorded>, Standing, Option<&'static str>, bool);
        let cases: [Case; 12] = [
            // Never recorded: it was in order.
            (None, Ok, None, false),
            (None, Due, None, true),
            (None, Overdue, None, true),
            (None, Failed, Some("lost"), true),
            // Recorded.
            (Some(was(Some(Due), None)), Due, None, false),
            (Some(was(Some(Due), None)), Overdue, None, true),
            (Some(was(Some(Overdue), None)), Ok, None, true),
            (Some(was(Some(Ok), None)), Ok, None, false),
            (Some(was(Some(Failed), Some("lost"))), Failed, Some("lost"), false),
            (Some(was(Some(Failed), Some("lost"))), Failed, Some("torn"), true),
            // Once given up.
            (Some(was(None, None)), Ok, None, false),
            (Some(was(None, None)), Due, None, true),
        ];
        for (before, standing, why, changed) in cases {
            let recorded: BTreeMap<_, _> =
                before.clone().map(|was| ("a".to_owned(), was)).into_iter().collect();
            let rows = [row("a", standing, why)];
            let expected = if changed { vec![Change::Stands(&rows[0])] } else { vec![] };
            assert_eq!(changes(&recorded, &rows), expected, "{before:?} {standing}");
            // Whoever records that has nothing more to record.
            let now = was(Some(standing), why);
            assert!(changes(&[("a".to_owned(), now)].into(), &rows).is_empty());
        }
    }

    #[test]
    fn a_row_that_is_asked_for_no_more_is_given_up_once() {
        let rows = [row("b", Standing::Ok, None)];
        let recorded = |standing| [("a".to_owned(), was(standing, None))].into();
        assert_eq!(changes(&recorded(Some(Standing::Overdue)), &rows), [Change::Gone("a")]);
        for over in [None, Some(Standing::Ok)] {
            assert!(changes(&recorded(over), &rows).is_empty());
        }
    }

    #[test]
    fn another_date_or_word_is_no_change() {
        let mut other = row("a", Standing::Due, None);
        (other.due_at, other.what) = (Some(8), "else".into());
        let recorded = [("a".to_owned(), was(Some(Standing::Due), None))].into();
        assert!(changes(&recorded, &[other]).is_empty());
    }
}
