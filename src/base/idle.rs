//! Threads that have nothing to do, for work that can be parted.

/// Part of a work that is under way.
pub type Part = Box<dyn FnOnce() + Send>;

/// Threads that take part in a work while they have nothing else to do.
pub trait Idle: Send + Sync + std::fmt::Debug {
    /// Hands parts to threads that are idle, at most `most`, and says how many. One may begin late, when the work is over: it then has to
    /// find that out by itself.
    fn assist(&self, most: usize, part: &dyn Fn() -> Part) -> usize;

    /// Whether something else waits for a thread, so that a part had better end.
    fn wanted(&self) -> bool;
}
