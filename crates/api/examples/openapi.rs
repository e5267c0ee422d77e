//! Prints the OpenAPI document: `cargo run -p api --example openapi > docs/openapi.json`.

fn main() {
    print!("{}", api::openapi());
}
