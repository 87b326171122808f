//! Amounts, money and times, in few characters.

/// Digits in groups of three: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// At most seven characters: `99,999`, `123.4k`, `5.0M`; cut off, never rounded up.
pub(crate) fn compact(number: u64) -> String {
    if number < 100_000 {
        return grouped(number);
    }
    let mut tenths = number / 100;
    for unit in ['k', 'M', 'G', 'T', 'P'] {
        if tenths < 10_000 {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1000;
    }
    format!("{}E", tenths / 10)
}

/// A rate: one decimal below 100, then as [`compact`].
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        return format!("{:.1}", per_second.max(0.0));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 100, and a cast saturates"
    )]
    let whole = per_second as u64;
    compact(whole)
}

/// Micro-dollars as dollars: `$0.0042`, `$12.34`, `$123.4k`.
pub(crate) fn dollars(microdollars: u64) -> String {
    let dollars = microdollars / 1_000_000;
    let rest = microdollars % 1_000_000;
    match dollars {
        0 => format!("$0.{:04}", rest / 100),
        1..100_000 => format!("${}.{:02}", grouped(dollars), rest / 10_000),
        _ => format!("${}", compact(dollars)),
    }
}

/// A time in its two largest units: `350ms`, `42s`, `5m 3s`, `2h 5m`, `3d 4h`.
pub(crate) fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let two = |large: u64, large_unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    };
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3600..86_400 => two(seconds / 3600, 'h', seconds / 60 % 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds / 3600 % 24, 'h'),
    }
}

/// A moment in Unix seconds, and how far it is from now: `2026-01-31T12:00:00Z, in 5m`.
pub(crate) fn moment(at: i64, now: i64) -> String {
    let Ok(date) = jiff::Timestamp::from_second(at) else {
        return format!("{at}, no date");
    };
    let away = time(at.abs_diff(now).saturating_mul(1000));
    match at.cmp(&now) {
        std::cmp::Ordering::Less => format!("{date}, {away} ago"),
        std::cmp::Ordering::Equal => format!("{date}, now"),
        std::cmp::Ordering::Greater => format!("{date}, in {away}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_never_too_large() {
        let all: Vec<String> = [0, 999, 99_999, 100_000, 999_999, 1_000_000, u64::MAX]
            .map(compact)
            .into();
        assert_eq!(
            all,
            ["0", "999", "99,999", "100.0k", "999.9k", "1.0M", "18E"]
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            (rate(0.25), rate(1234.5), rate(f64::NAN)),
            ("0.2".into(), "1,234".into(), "0".into())
        );
    }

    #[test]
    fn small_money_is_not_nothing() {
        assert_eq!(
            [4200, 12_340_000, 123_456_000_000].map(dollars),
            ["$0.0042", "$12.34", "$123.4k"]
        );
    }

    #[test]
    fn a_moment_is_told_with_its_distance() {
        let now = 1_767_225_600;
        assert_eq!(moment(now + 300, now), "2026-01-01T00:05:00Z, in 5m");
        assert_eq!(moment(now - 90, now), "2025-12-31T23:58:30Z, 1m 30s ago");
        assert_eq!(moment(now, now), "2026-01-01T00:00:00Z, now");
        assert_eq!(moment(i64::MAX, now), "9223372036854775807, no date");
        assert!(moment(i64::MIN, now).ends_with("no date"));
    }

    #[test]
    fn times_have_two_units_at_most() {
        assert_eq!(
            [350, 42_900, 303_000, 7_500_000, 273_600_000, 120_000].map(time),
            ["350ms", "42s", "5m 3s", "2h 5m", "3d 4h", "2m"]
        );
    }
}
