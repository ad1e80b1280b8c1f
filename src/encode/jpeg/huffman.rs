//! Huffman codes made for a picture: the shortest of at most 16 bits, none of ones alone (ITU-T T.81, annexes C and K.2).

/// The longest code.
const BITS_MAX: usize = 16;

/// Longer codes than any that 2⁴⁰ symbols can need (a code of n bits takes as many symbols as the n-th number of Fibonacci).
const DEPTH_MAX: usize = 64;

/// A table of codes.
#[derive(Debug)]
pub struct Codes {
    /// How many codes there are of 1, 2, … 16 bits.
    pub counts: [u8; BITS_MAX],
    /// Their symbols, the shortest codes first.
    pub symbols: Vec<u8>,
}

impl Codes {
    /// For symbols that occur so often; those that never do have none.
    pub fn of(often: &[u32; 256]) -> Self {
        let mut symbols: Vec<u8> = (0..=255).filter(|symbol| often[usize::from(*symbol)] > 0).collect();
        // The rarest first, and of equal ones the last.
        symbols.sort_unstable_by_key(|symbol| (often[usize::from(*symbol)], std::cmp::Reverse(*symbol)));
        // One that never occurs takes the code of ones alone, which is the last and longest.
        let weights: Vec<u64> =
            std::iter::once(0).chain(symbols.iter().map(|symbol| u64::from(often[usize::from(*symbol)]))).collect();
        let mut counts = depths(&weights);
        shorten(&mut counts);
        if let Some(longest) = counts.iter().rposition(|count| *count > 0) {
            counts[longest] -= 1;
        }
        symbols.reverse();
        Self { counts: std::array::from_fn(|at| counts[at + 1] as u8), symbols }
    }

    /// Every symbol with its code and the code's length.
    pub fn each(&self) -> impl Iterator<Item = (u8, u32, u32)> {
        let mut next = 0;
        let mut symbols = self.symbols.iter();
        (1..).zip(self.counts).flat_map(move |(bits, count)| {
            next <<= 1;
            let first = next;
            next += u32::from(count);
            symbols
                .by_ref()
                .take(usize::from(count))
                .zip(first..)
                .map(move |(symbol, code)| (*symbol, code, bits))
                .collect::<Vec<_>>()
        })
    }
}

/// How many leaves of Huffman's tree are how deep; weights come in their order.
fn depths(weights: &[u64]) -> [u32; DEPTH_MAX] {
    let leaves = weights.len();
    let mut counts = [0; DEPTH_MAX];
    if leaves < 2 {
        counts[1] = leaves as u32;
        return counts;
    }
    // Leaves, then the nodes, which come in order of weight too; each has its parent's place.
    let mut weights = weights.to_vec();
    let mut parents = vec![0; 2 * leaves - 1];
    let (mut leaf, mut node) = (0, leaves);
    for parent in leaves..2 * leaves - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let is_leaf = leaf < leaves && (node == weights.len() || weights[leaf] <= weights[node]);
            let child = if is_leaf { &mut leaf } else { &mut node };
            weight += weights[*child];
            parents[*child] = parent;
            *child += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; 2 * leaves - 1];
    for at in (0..2 * leaves - 2).rev() {
        depths[at] = depths[parents[at]] + 1;
        if at < leaves {
            counts[depths[at]] += 1;
        }
    }
    counts
}

/// Brings codes that are too long to 16 bits, in pairs: one of a pair takes the place of their common beginning, the other is hung
/// beside a shorter one (figure K.3).
fn shorten(counts: &mut [u32; DEPTH_MAX]) {
    for bits in (BITS_MAX + 1..DEPTH_MAX).rev() {
        while counts[bits] > 0 {
            let shorter =
                (1..bits - 1).rev().find(|bits| counts[*bits] > 0).expect("a tree with long codes has short ones");
            counts[bits] -= 2;
            counts[bits - 1] += 1;
            counts[shorter + 1] += 2;
            counts[shorter] -= 1;
        }
    }
}
