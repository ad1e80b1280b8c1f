//! How far down a category's list a new asset's variants go.

use crate::catalog::Popular;

/// How much is made before anybody asks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Coverage {
    /// The share of requests that shall find what they ask for, 0 to 1.
    pub share: f64,
    /// Bytes of variants that one asset may cost for it.
    pub bytes_max: u64,
    /// What is asked for less often is passed over: one who asks once makes nothing popular.
    pub count_min: f64,
}

/// The most popular shapes of a list, beside those that are made anyway, until the share is covered, or the bytes are spent.
pub fn choose(list: &[Popular], made: &[String], coverage: Coverage) -> Vec<String> {
    let is_made = |one: &&Popular| made.contains(&one.shape);
    let mut covered: f64 = list.iter().filter(is_made).map(|one| one.share).sum();
    let mut bytes: f64 = list.iter().filter(is_made).map(|one| one.bytes).sum();
    let mut chosen = Vec::new();
    for one in list.iter().filter(|one| !is_made(one)) {
        bytes += one.bytes;
        // Shares are sums of fractions: what is missing by rounding is not missing.
        if covered + 1e-9 >= coverage.share || one.count < coverage.count_min || bytes > coverage.bytes_max as f64 {
            break;
        }
        covered += one.share;
        chosen.push(one.shape.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_the_list_is_made() {
        let shape = |name: &str, share: f64, bytes: f64| Popular {
            shape: name.to_owned(),
            count: share * 1000.0,
            share,
            bytes,
        };
        let list = [
            shape("a.webp", 0.5, 100.0),
            shape("b.webp", 0.3, 100.0),
            shape("c.webp", 0.15, 100.0),
            shape("d.webp", 0.045, 100.0),
            shape("e.webp", 0.005, 100.0),
        ];
        let check = |share: f64, bytes_max: u64, made: &[&str]| {
            let made: Vec<String> = made.iter().map(|name| (*name).to_owned()).collect();
            choose(&list, &made, Coverage { share, bytes_max, count_min: 10.0 }).join(" ")
        };
        assert_eq!(check(0.95, 10_000, &[]), "a.webp b.webp c.webp");
        assert_eq!(check(0.96, 10_000, &[]), "a.webp b.webp c.webp d.webp");
        assert_eq!(check(1.0, 10_000, &[]), "a.webp b.webp c.webp d.webp", "what one asks for once is passed over");
        assert_eq!(check(0.95, 250, &[]), "a.webp b.webp");
        assert_eq!(check(0.95, 10_000, &["a.webp", "x.jpg"]), "b.webp c.webp", "what is made anyway covers, too");
        assert_eq!(check(0.95, 250, &["a.webp"]), "b.webp");
        assert_eq!(check(0.0, 10_000, &[]), "");
        assert_eq!(choose(&[], &[], Coverage { share: 0.95, bytes_max: 1, count_min: 0.0 }), [""; 0]);
    }
}
