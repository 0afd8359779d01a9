//! Amounts as people write them.

/// Reads `2326`, `100k`, `1.1GB` or `64 MiB`.
pub(crate) fn amount(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no amount; write it as in 2326, 100kB or 1.1GB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) => (letter, 1024.0_f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000.0),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let amount = number * base.powi(power);
    if amount < 9e18 { Ok(amount as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        let read = ["0", "2326", "100k", "1.1GB", "64 MiB", "2tb"].map(|text| amount(text).unwrap());

        assert_eq!(read, [0, 2326, 100_000, 1_100_000_000, 64 << 20, 2_000_000_000_000]);
        for wrong in ["", "B", "-1", "1.2.3", "5 lines", "99999999TB"] {
            assert!(amount(wrong).unwrap_err().contains("1.1GB"), "{wrong}");
        }
    }
}
