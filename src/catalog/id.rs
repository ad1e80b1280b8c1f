//! Names for what has none: sortable by time, unlikely to meet.

use std::sync::atomic::{AtomicU16, Ordering};

/// Crockford's alphabet, lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A name: a prefix, 48 bits of time, 16 bits that count in this process, 66 random bits. Those of one process sort by age.
pub fn id(prefix: &str, now_ms: i64) -> String {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let head = ((now_ms as u64 & 0xffff_ffff_ffff) << 16) | u64::from(count);
    let mut text = String::with_capacity(prefix.len() + 27);
    text.push_str(prefix);
    text.push('_');
    // 64 bits are 12 digits of 5 bits, and 4 bits over; the rest is random.
    for at in 0..13 {
        let bits = if at < 12 { head >> (59 - 5 * at) } else { head << 1 };
        text.push(DIGITS[(bits & 31) as usize] as char);
    }
    for _ in 0..13 {
        text.push(DIGITS[fastrand::usize(..32)] as char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_differ() {
        let names: Vec<String> = (0..1000).map(|at| id("job", 1_700_000_000_000 + at * 7)).collect();
        assert!(names.is_sorted());
        let same: std::collections::BTreeSet<String> = (0..1000).map(|_| id("job", 5)).collect();
        assert_eq!(same.len(), 1000);
        assert_eq!(names[0].len(), "job_".len() + 26);
    }
}
