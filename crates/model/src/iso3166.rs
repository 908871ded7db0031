//! The officially assigned alpha-2 codes of ISO 3166-1, in order.

/// 249 codes, sorted so that they can be searched.
pub(crate) const ALPHA2: &[&str] = &[
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ", "BA",
    "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS", "BT", "BV",
    "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN", "CO", "CR", "CU",
    "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE", "EG", "EH", "ER", "ES",
    "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF", "GG", "GH", "GI", "GL", "GM",
    "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM", "HN", "HR", "HT", "HU", "ID", "IE",
    "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM", "JO", "JP", "KE", "KG", "KH", "KI", "KM",
    "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC", "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY",
    "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK", "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT",
    "MU", "MV", "MW", "MX", "MY", "MZ", "NA", "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU",
    "NZ", "OM", "PA", "PE", "PF", "PG", "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA",
    "RE", "RO", "RS", "RU", "RW", "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM",
    "SN", "SO", "SR", "SS", "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL",
    "TM", "TN", "TO", "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE",
    "VG", "VI", "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];

/// Subdivisions of ISO 3166-2 that have an alpha-2 code of their own in ISO 3166-1 too, by the code of the
/// state that they are listed under.
const OWN_CODES: &[(&str, &[&str])] = &[
    ("CN", &["HK", "MO", "TW"]),
    ("FI", &["01"]),
    (
        "FR",
        &[
            "971", "972", "973", "974", "976", "BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF",
            "WF", "YT",
        ],
    ),
    ("NL", &["AW", "BQ1", "BQ2", "BQ3", "CW", "SX"]),
    ("NO", &["21", "22"]),
    ("US", &["AS", "GU", "MP", "PR", "UM", "VI"]),
];

/// Whether ISO 3166-1 has the subdivision as a country or territory of its own.
pub(crate) fn has_own_code(country: &str, part: &str) -> bool {
    OWN_CODES.iter().any(|(state, parts)| *state == country && parts.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::ALPHA2;

    #[test]
    fn all_assigned_codes_in_order() {
        assert_eq!(ALPHA2.len(), 249);
        assert!(ALPHA2.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
