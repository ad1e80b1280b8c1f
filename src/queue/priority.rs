//! How urgent a job is: as was asked, else by a table.

use std::collections::BTreeSet;

use super::Priority;

/// What a job's priority is told from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The category.
    pub category: String,
    /// The owner.
    pub owner: String,
    /// Pixels of the original; 0 where not known.
    pub pixels: u64,
    /// Whether it is one of many.
    pub batch: bool,
}

/// The table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Priorities {
    /// Categories whose pictures somebody waits for: critical.
    pub critical_categories: BTreeSet<String>,
    /// Owners who go before others: high.
    pub premium_owners: BTreeSet<String>,
    /// Smaller originals are quick: high.
    pub small_pixels_max: u64,
    /// Larger originals take long: low.
    pub large_pixels_min: u64,
}

impl Default for Priorities {
    fn default() -> Self {
        Self {
            critical_categories: BTreeSet::from(["avatars".to_owned()]),
            premium_owners: BTreeSet::new(),
            small_pixels_max: 1_000_000,
            large_pixels_min: 10_000_000,
        }
    }
}

impl Priorities {
    /// A job's priority: the one asked for, else the first row that holds. One of many is normal, and low where it is large.
    pub fn of(&self, asked: Option<Priority>, facts: &Facts) -> Priority {
        if let Some(asked) = asked {
            return asked;
        }
        let large = facts.pixels > self.large_pixels_min;
        if self.critical_categories.contains(&facts.category) && !facts.batch {
            Priority::Critical
        } else if facts.batch {
            if large { Priority::Low } else { Priority::Normal }
        } else if self.premium_owners.contains(&facts.owner)
            || (facts.pixels > 0 && facts.pixels < self.small_pixels_max)
        {
            Priority::High
        } else if large {
            Priority::Low
        } else {
            Priority::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let premium_owners = BTreeSet::from(["gold".to_owned()]);
        let table = Priorities { premium_owners, ..Priorities::default() };
        let check = |category: &str, owner: &str, pixels: u64, batch: bool, expected: Priority| {
            let facts = Facts { category: category.to_owned(), owner: owner.to_owned(), pixels, batch };
            assert_eq!(table.of(None, &facts), expected, "{facts:?}");
            assert_eq!(table.of(Some(Priority::Low), &facts), Priority::Low, "what is asked for wins");
        };
        check("avatars", "ann", 20_000_000, false, Priority::Critical);
        check("shoes", "ann", 500_000, false, Priority::High);
        check("shoes", "gold", 5_000_000, false, Priority::High);
        check("shoes", "ann", 5_000_000, false, Priority::Normal);
        check("shoes", "ann", 0, false, Priority::Normal);
        check("shoes", "ann", 12_000_000, false, Priority::Low);
        check("shoes", "gold", 500_000, true, Priority::Normal);
        check("avatars", "gold", 12_000_000, true, Priority::Low);
    }
}
