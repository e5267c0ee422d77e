//! Prints the reference of policies: `cargo run -p policy --example reference > docs/policy-reference.md`.

fn main() {
    match policy::reference::page() {
        Ok(page) => print!("{page}"),
        Err(why) => eprintln!("{why}"),
    }
}
