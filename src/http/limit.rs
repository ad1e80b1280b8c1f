//! How many new variants one address may ask for.
//!
//! Always true: the state is bounded, however many addresses come.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::settings::Rate;

/// After so many misses the addresses that have rested are forgotten.
const FORGET_EVERY: u32 = 4096;

/// An allowance for each address.
pub struct Limit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    addresses_max: usize,
    asked: AtomicU32,
}

impl Limit {
    /// Full allowances.
    pub fn new(rate: &Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            addresses_max: rate.addresses_max,
            asked: AtomicU32::new(0),
        }
    }

    /// Takes one from the address's allowance, or says when there will be one again.
    pub fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let full = self.limiter.len() >= self.addresses_max;
        if full || self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.forget();
        }
        // When even the addresses that have not rested are too many, all that come then share one allowance.
        let crowded = full && self.limiter.len() >= self.addresses_max;
        let key = if crowded { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { network(address) };
        self.limiter.check_key(&key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// How many addresses are remembered.
    pub fn addresses(&self) -> usize {
        self.limiter.len()
    }

    fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// Whoever has one IPv6 address has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limit(burst: u32, addresses_max: usize) -> Limit {
        let per_second = NonZeroU32::MIN;
        Limit::new(&Rate { per_second, burst: NonZeroU32::new(burst).unwrap(), addresses_max })
    }

    #[test]
    fn an_address_has_its_own_allowance() {
        let limit = limit(3, 100);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..3 {
            assert_eq!(limit.take(one), Ok(()));
        }
        let wait = limit.take(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(limit.take(other), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limit = limit(1, 100);
        assert_eq!(limit.take("2001:db8::1".parse().unwrap()), Ok(()));
        assert!(limit.take("2001:db8::ffff:2".parse().unwrap()).is_err());
        assert_eq!(limit.take("2001:db8:0:1::1".parse().unwrap()), Ok(()));
        assert_eq!(limit.take("192.0.2.1".parse().unwrap()), Ok(()));
        assert!(limit.take("::ffff:192.0.2.1".parse().unwrap()).is_err());
    }

    #[test]
    fn however_many_addresses_come_the_state_is_bounded() {
        let limit = limit(2, 50);
        let refused = (0..1000_u32).filter(|at| limit.take(IpAddr::from(at.to_be_bytes())).is_err()).count();
        assert!(limit.addresses() <= 51, "{}", limit.addresses());
        assert!(refused > 900, "those above the bound share one allowance: {refused}");
    }
}
