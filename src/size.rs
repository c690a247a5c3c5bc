//! Sizes as people read them.

/// A size in powers of 1024 with one decimal, as VPO prints it: `52.4 MB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A count with a comma between thousands: `1,523`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_powers_of_1024_with_one_decimal() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (54_945_382, "52.4 MB"),
            (1024 * 1024 - 1, "1.0 MB"),
            (u64::MAX, "16384.0 PB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(super::human(bytes), text);
        }
    }

    #[test]
    fn counts_have_commas() {
        for (count, text) in [(0, "0"), (999, "999"), (1523, "1,523"), (1_234_567, "1,234,567")] {
            assert_eq!(super::grouped(count), text);
        }
    }
}
