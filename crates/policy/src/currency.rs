//! Currencies of ISO 4217 (list one, 2024): how many digits their minor units have.

/// With two digits after the point.
const TWO: &str = "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd btn bwp byn bzd cad cdf \
    chf cny cop crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl htg huf idr \
    ils inr irr jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr \
    mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sdg sek sgd shp sle sos srd ssp \
    stn svc syp szl thb tjs tmt top try ttd twd tzs uah usd uyu uzs ves wst xcd yer zar zmw";

/// With none.
const NONE: &str = "bif clp djf gnf isk jpy kmf krw pyg rwf ugx vnd vuv xaf xof xpf";

/// With three.
const THREE: &str = "bhd iqd jod kwd lyd omr tnd";

/// Digits of the minor unit of a currency, by its code in lower case; nothing for a code that is none.
pub fn digits(code: &str) -> Option<usize> {
    let lists = [(NONE, 0), (TWO, 2), (THREE, 3)];
    let has = |list: &str| list.split_whitespace().any(|known| known == code);
    lists.iter().find(|(list, _)| has(list)).map(|(_, digits)| *digits)
}

/// Every code.
pub fn codes() -> impl Iterator<Item = &'static str> {
    [TWO, NONE, THREE].into_iter().flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn minor_units_are_those_of_iso_4217() {
        for (code, found) in [
            ("chf", Some(2)),
            ("eur", Some(2)),
            ("usd", Some(2)),
            ("jpy", Some(0)),
            ("isk", Some(0)),
            ("kwd", Some(3)),
            ("CHF", None),
            ("btc", None),
            ("", None),
        ] {
            assert_eq!(digits(code), found, "{code}");
        }
        let all: BTreeSet<_> = codes().collect();
        assert_eq!(all.len(), codes().count(), "each once");
        assert!(all.iter().all(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
