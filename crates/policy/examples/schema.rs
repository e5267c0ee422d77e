//! Prints the schema of policies: `cargo run -p policy --example schema > docs/spec/policy.schema.json`.

fn main() {
    print!("{}", policy::schema::text());
}
