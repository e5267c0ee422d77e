//! How much work a comparison is worth.

use std::cell::Cell;

/// Most work that a comparison takes beside splitting, in looks: at a rule, a seat of a path or a name. About three
/// seconds at most, and thirty times what two policies that people wrote take: whoever proposes a policy makes everybody
/// compare it who looks at it, and what needs more is too intricate for people too.
pub const WORK_LIMIT: usize = 30_000_000;

/// Work that is left.
pub(crate) struct Budget {
    left: Cell<Option<usize>>,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Self {
        Self { left: Cell::new(Some(most)) }
    }

    /// Takes some work off what is left. When there is less, all is spent, and nothing can be taken any more.
    pub(crate) fn takes(&self, work: usize) -> bool {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(work)));
        !self.is_spent()
    }

    /// Whether something was left undone.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.get().is_none()
    }

    /// What is left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.left.get().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_taken_to_its_end_and_not_beyond() {
        let budget = Budget::new(10);
        assert!(budget.takes(4) && budget.takes(6) && !budget.is_spent());
        assert!(budget.takes(0) && !budget.takes(1) && budget.is_spent());
        assert!(!budget.takes(0), "what is left undone stays undone");
    }
}
