//! A machine of the institution calls the interface as any HTTP client would.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::{BEGINNING, acme, deployed};

/// What a caller needs: the server's certificate as the only root, and its own.
fn config(files: &Path, known: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files.join("server.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.unwrap().with_root_certificates(roots);
    if !known {
        return Arc::new(config.with_no_client_auth());
    }
    let chain = vec![CertificateDer::from_pem_file(files.join("erp.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.join("erp.key")).unwrap();
    Arc::new(config.with_client_auth_cert(chain, key).unwrap())
}

/// One request by HTTP/1.1: status and JSON.
fn call(
    config: &Arc<ClientConfig>,
    address: &str,
    request: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(u16, Value)> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut answer = Vec::new();
    // Who says goodbye first is no matter here.
    let ended = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        ended?;
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

#[test]
fn a_machine_asks_by_https_and_the_same_key_asks_once() {
    let (_directory, mut story) = deployed();
    let files = story.certificates().unwrap();
    let erp = config(&files, true);
    let address = story.api_address().unwrap();
    let (status, said) = call(&erp, &address, "GET /v1/status", "", "").unwrap();
    assert_eq!(status, 200, "{said}");

    // A draft moves nothing; a signed request reserves.
    let draft = json!({
        "client": "acme", "wallet": "vault", "fee_max": "20000",
        "outputs": [{ "destination": "supplier", "amount": "10000000" }],
    });
    let key = |key: &str| format!("Idempotency-Key: {key}\r\n");
    let (status, made) =
        call(&erp, &address, "POST /v1/withdrawals", &key("one"), &draft.to_string()).unwrap();
    assert_eq!(status, 202, "{made}");
    assert_eq!(acme(&story, &[]), (BEGINNING, BEGINNING));
    let file = files.join("draft.json");
    std::fs::write(&file, draft.to_string()).unwrap();
    let signed = story.keyward("erp", &["request", "sign", "--file", &file.display().to_string(), "--yes"]);
    let signed = signed.map(|signed| signed.to_string());
    let body = signed.unwrap_or_else(|error| panic!("{error}"));
    let post =
        |address: &str, name: &str| call(&erp, address, "POST /v1/withdrawals", &key(name), &body).unwrap();
    let (status, first) = post(&address, "two");
    assert_eq!(status, 202, "{first}");
    let reserved = BEGINNING - 10_000_000 - 20_000;
    assert_eq!(acme(&story, &[]), (BEGINNING, reserved));
    // The answer was lost, the server was killed: the same key gets the same answer and reserves nothing.
    story.kill_server();
    story.start_server().unwrap();
    let address = story.api_address().unwrap();
    let (status, again) = post(&address, "two");
    assert_eq!((status, &again["id"]), (202, &first["id"]), "{again}");
    assert_eq!(acme(&story, &[]), (BEGINNING, reserved));
    let other = body.replacen("{", "{\"external_id\":\"other\",", 1);
    let (status, refused) = call(&erp, &address, "POST /v1/withdrawals", &key("two"), &other).unwrap();
    assert_eq!(status, 409, "{refused}");
    assert_eq!(refused["code"], "idempotency.mismatch", "{refused}");

    // Nobody comes in without a certificate.
    let stranger = call(&config(&files, false), &address, "GET /v1/status", "", "");
    assert!(stranger.is_err() || stranger.is_ok_and(|(status, _)| status == 0));
}
