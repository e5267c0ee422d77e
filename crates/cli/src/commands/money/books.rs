//! What the books say: `keyward balances`, `statement`, `transfer`, `reconcile`.

use approver::{plain, time};
use custody::name::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Write, decode, escape, list, post};
use super::table::{Column, Table, amount};
use crate::args::{Balances, Global, Statement, Transfer};
use crate::commands::{confirm, emit};
use crate::failure::{Class, Failure, Result};
use crate::session::Session;

/// What one owner has of one asset in one wallet.
#[derive(Clone, Deserialize)]
struct Account {
    owner: String,
    wallet: String,
    asset: String,
    balance: String,
    available: String,
    reserved: String,
}

const ACCOUNTS: &[Column] = &[
    Column::Text("owner"),
    Column::Text("wallet"),
    Column::Amount("balance"),
    Column::Amount("available"),
    Column::Amount("reserved"),
    Column::Text("asset"),
];

pub(crate) fn balances(global: &Global, command: Balances) -> Result<()> {
    let mut session = Session::open(global)?;
    let found = accounts(&mut session, command.client.as_ref(), command.wallet.as_ref(), command.as_of)?;
    let mut table = Table::new(ACCOUNTS, "nothing ever moved there");
    for account in &found {
        let Account { owner, wallet, asset, balance, available, reserved } = decode(account.clone())?;
        table.push(vec![owner, wallet, balance, available, reserved, asset]);
    }
    table.emit(global, &found)
}

fn accounts(
    session: &mut Session<'_>,
    client: Option<&Name>,
    wallet: Option<&Name>,
    as_of: Option<u64>,
) -> Result<Vec<Value>> {
    let query = [
        ("client", client.map(Name::to_string)),
        ("wallet", wallet.map(Name::to_string)),
        ("as_of", as_of.map(time)),
    ];
    list(session, "/v1/accounts", &query)
}

/// A transfer as one account sees it.
#[derive(Deserialize)]
struct Line {
    time: String,
    transfer: String,
    kind: String,
    code: String,
    side: String,
    amount: String,
    balance: String,
    available: String,
    counterparty: String,
}

const LINES: &[Column] = &[
    Column::Text("time"),
    Column::Text("wallet"),
    Column::Text("code"),
    Column::Text("kind"),
    Column::Amount("amount"),
    Column::Amount("balance"),
    Column::Amount("available"),
    Column::Text("counterparty"),
    Column::Id("transfer"),
    Column::Text("asset"),
];

/// An account with its lines.
#[derive(Serialize)]
struct Section {
    wallet: String,
    asset: String,
    lines: Vec<Value>,
}

pub(crate) fn statement(global: &Global, command: Statement) -> Result<()> {
    let mut session = Session::open(global)?;
    let found = accounts(&mut session, Some(&command.client), command.wallet.as_ref(), None)?;
    let query = [("from", command.from.map(time)), ("to", command.to.map(time))];
    let mut sections = Vec::new();
    let mut table = Table::new(LINES, "nothing moved");
    for account in found {
        let Account { owner, wallet, asset, .. } = decode(account)?;
        if command.asset.as_ref().is_some_and(|wanted| *wanted != asset) {
            continue;
        }
        let parts: Vec<String> = [&owner, &wallet].into_iter().map(|part| escape(part)).collect();
        let (chain, token) = asset.split_once('/').unwrap_or((&asset, ""));
        let at = format!("/v1/accounts/{}/{}/{}/statement", parts.join("/"), escape(chain), escape(token));
        let lines = list(&mut session, &at, &query)?;
        for line in &lines {
            let line: Line = decode(line.clone())?;
            table.push(row(line, &wallet, &asset));
        }
        sections.push(Section { wallet, asset, lines });
    }
    table.emit(global, &sections)
}

fn row(line: Line, wallet: &str, asset: &str) -> Vec<String> {
    // What is only reserved, or not any more, moves nothing: its sign says what the account gives.
    let sign = if line.side == "debit" { "-" } else { "" };
    vec![
        line.time,
        wallet.to_owned(),
        line.code,
        line.kind,
        format!("{sign}{}", line.amount),
        line.balance,
        line.available,
        line.counterparty,
        line.transfer,
        asset.to_owned(),
    ]
}

pub(crate) fn transfer(global: &Global, command: Transfer) -> Result<()> {
    let mut session = Session::open(global)?;
    let Transfer { wallet, from, to, amount: sats, external_id, again, yes } = command;
    let shown = approver::sats(sats);
    eprintln!("in the books of {wallet}: {shown} from {from} to {to}");
    confirm("Move this?", yes)?;
    let body = json!({
        "wallet": wallet,
        "from": format!("client:{from}"),
        "to": format!("client:{to}"),
        "amount": sats.0.to_string(),
        "external_id": external_id,
    });
    let moved = Write::new(&again).send(&mut session, "POST", "/v1/transfers", &body)?;
    let id = moved.get("id").and_then(Value::as_str).map(plain).unwrap_or_default();
    emit(global, &format!("moved       {shown} from {from} to {to}\n  id       {id}\n"), &moved)
}

/// Something that explains a difference, or may.
#[derive(Deserialize)]
struct Item {
    what: String,
    id: String,
    amount: String,
}

/// A wallet compared at one block.
#[derive(Deserialize)]
struct Comparison {
    wallet: String,
    height: u32,
    network: String,
    books: String,
    incoming: Vec<Item>,
    outgoing: Vec<Item>,
    difference: String,
    suspects: Vec<Item>,
}

const COMPARISONS: &[Column] = &[
    Column::Text("wallet"),
    Column::Text("height"),
    Column::Text("is"),
    Column::Text("what"),
    Column::Amount("amount"),
    Column::Id("of"),
];

impl Comparison {
    fn is_break(&self) -> bool {
        self.difference != "0"
    }

    /// The comparison as a calculation: network = books + incoming − outgoing + difference.
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |is: &str, what: &str, amount: &str, of: &str| {
            let height = self.height.to_string();
            [self.wallet.as_str(), &height, is, what, amount, of].map(str::to_owned).to_vec()
        };
        let mut rows = vec![row("network", "", &self.network, ""), row("books", "", &self.books, "")];
        rows.extend(self.incoming.iter().map(|i| row("incoming", &i.what, &i.amount, &i.id)));
        rows.extend(self.outgoing.iter().map(|i| row("outgoing", &i.what, &i.amount, &i.id)));
        rows.push(row(if self.is_break() { "! difference" } else { "difference" }, "", &self.difference, ""));
        rows.extend(self.suspects.iter().map(|i| row("suspect", &i.what, &i.amount, &i.id)));
        rows
    }
}

pub(crate) fn reconcile(global: &Global, wallet: Option<&Name>) -> Result<()> {
    let mut session = Session::open(global)?;
    let all: Vec<Value> = decode(post(&mut session, "/v1/reconciliations", b"{}")?)?;
    let of = |value: &Value| value.get("wallet").and_then(Value::as_str).map(str::to_owned);
    let wanted = |value: &Value| wallet.is_none_or(|wallet| of(value).as_deref() == Some(wallet.as_str()));
    let found: Vec<Value> = all.into_iter().filter(wanted).collect();
    if let Some(wallet) = wallet.filter(|_| found.is_empty()) {
        let next = "keyward status lists the wallets; a new one is compared once the books know it";
        return Err(Failure::usage(format!("wallet {wallet} was not compared"), next));
    }
    let mut table = Table::new(COMPARISONS, "there is no wallet to compare");
    let mut breaks = Vec::new();
    for value in &found {
        let one: Comparison = decode(value.clone())?;
        one.rows().into_iter().for_each(|row| table.push(row));
        if one.is_break() {
            breaks.push(format!("{}: {}", plain(&one.wallet), amount(&one.difference)));
        }
    }
    table.emit(global, &found)?;
    if breaks.is_empty() {
        return Ok(());
    }
    let what = format!("books and network differ: {}", breaks.join("; "));
    let next = "look into the suspects; the asset stays frozen until a quorum resumes (keyward resume)";
    Err(Failure::new(Class::Break, what, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(difference: &str) -> Comparison {
        let item = json!({ "what": "deposit-confirming", "id": "ab:0", "amount": "7" });
        decode(json!({
            "wallet": "main", "asset": "x", "height": 9, "block": "00", "network": "107", "books": "100",
            "incoming": [item], "outgoing": [], "difference": difference, "suspects": [item],
        }))
        .unwrap()
    }

    #[test]
    fn a_comparison_is_a_calculation_with_its_break_marked() {
        let rows = comparison("0").rows();
        let shown: Vec<_> = rows.iter().map(|row| (row[2].as_str(), row[4].as_str())).collect();
        let expected =
            [("network", "107"), ("books", "100"), ("incoming", "7"), ("difference", "0"), ("suspect", "7")];
        assert_eq!(shown, expected);
        assert!(!comparison("0").is_break());
        for broken in ["1", "-1"] {
            assert!(comparison(broken).is_break());
            assert_eq!(comparison(broken).rows()[3][2], "! difference");
        }
    }

    #[test]
    fn a_line_says_by_its_sign_who_gives() {
        let line = |side: &str| Line {
            time: "t".into(),
            transfer: "x".into(),
            kind: "posted".into(),
            code: "deposit".into(),
            side: side.into(),
            amount: "5".into(),
            balance: "0".into(),
            available: "0".into(),
            counterparty: "external".into(),
        };
        assert_eq!(row(line("debit"), "main", "a")[4], "-5");
        assert_eq!(row(line("credit"), "main", "a")[4], "5");
    }
}
