//! The very bytes of the signed formats. A change here is a new version of the format.

use custody::Hash;

use super::signer::agreement::{Input, Message, Output};
use super::signer::tendermint::Kind;
use super::world::{Options, World};

fn sends(outputs: Vec<Output>) -> Vec<String> {
    let text = |output| match output {
        Output::Send { bytes, .. } => Some(String::from_utf8(bytes).expect("JSON")),
        _ => None,
    };
    outputs.into_iter().filter_map(text).collect()
}

/// Member 1 starts, proposes the value `[1] + height + …` in height 1, and votes for it.
#[test]
fn the_words_of_a_member() {
    let world = World::new(0, Options { liar: false, untimely: 0, ..Options::default() });
    let mut app = world.nodes[1].app.clone();
    app.pending = true;
    let mut it = world.fresh(1);
    let nonce = Hash([7; 32]);
    let probe = sends(it.start_guarded(&mut app, 0, false, nonce));
    let expected = include_str!("golden.txt").lines().collect::<Vec<_>>();
    let mut words = probe;
    let asked = Message::decode(words[0].as_bytes()).expect("decodes");
    for by in [0, 2] {
        let answer = Message::Answer(world.answer(by, 1, nonce, 0)).encode().expect("short");
        words.extend(sends(it.step(&mut app, 0, Input::Message(answer))));
    }
    assert!(matches!(asked, Message::Probe(_)));
    // Another's probe: the same words signed by member 2, who voted before.
    let vote = world.vote(2, 1, 0, Kind::Prevote, None);
    let vote = Message::Votes(vec![vote]).encode().expect("short");
    words.extend(sends(it.step(&mut app, 0, Input::Message(vote))));
    let probe = Message::Probe(world.probe(2, 1, nonce, None)).encode().expect("short");
    words.extend(sends(it.step(&mut app, 0, Input::Message(probe))));
    assert_eq!(words, expected, "\n{}", words.join("\n"));
}
