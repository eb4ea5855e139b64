//! Countries by their codes (ISO 3166-1, alpha-2), as databases of addresses have them.

/// Every code in use. `XK` is Kosovo's, which ISO leaves to users and databases have.
const CODES: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE \
EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC \
LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK";

/// A country as features have it: the first letter in the upper byte. Otherwise what would be
/// right.
pub(super) fn number(text: &str) -> Result<f64, String> {
    if let Some(number) = exact(text) {
        return Ok(number);
    }
    let upper = text.trim().to_ascii_uppercase();
    let meant = if upper == "UK" { "GB" } else { upper.as_str() };
    Err(match exact(meant) {
        Some(_) => format!("did you mean \"{meant}\"?"),
        None => "countries are written as two capital letters (ISO 3166): \"DE\"".to_owned(),
    })
}

fn exact(text: &str) -> Option<f64> {
    let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
    CODES.split(' ').any(|code| code == text).then(|| f64::from(u16::from_be_bytes(letters)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_and_mistakes_are_helped() {
        assert_eq!(CODES.split(' ').count(), 250);
        assert_eq!(number("DE"), Ok(f64::from(0x4445_u16)));
        for (wrong, help) in [
            ("de", "did you mean \"DE\"?"),
            ("UK", "did you mean \"GB\"?"),
            ("Germany", "two capital letters"),
            ("EN", "two capital letters"),
            ("", "two capital letters"),
            ("Ä", "two capital letters"),
        ] {
            assert!(number(wrong).unwrap_err().contains(help), "{wrong}");
        }
    }
}
