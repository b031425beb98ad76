//! Where the steps of a run and the items of a step lie: vectors, which in tests of this crate count how often anybody
//! looks at one of them. A transition that looks at all of them is found by counting, on a machine of any speed
//! (`tests/cost.rs`).

#[cfg(not(test))]
pub type Slots<T> = Vec<T>;

#[cfg(test)]
pub use counted::{Slots, looks};

#[cfg(test)]
mod counted {
    use std::cell::Cell;
    use std::ops::{Deref, Index, IndexMut};

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    /// How often this thread has looked at a step or an item.
    pub fn looks() -> usize {
        LOOKS.get()
    }

    fn look(count: usize) {
        LOOKS.set(LOOKS.get() + count);
    }

    #[derive(Debug, Clone)]
    pub struct Slots<T>(Vec<T>);

    impl<T> Slots<T> {
        pub fn len(&self) -> usize {
            self.0.len()
        }

        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub fn get(&self, at: usize) -> Option<&T> {
            look(1);
            self.0.get(at)
        }

        pub fn iter(&self) -> impl Iterator<Item = &T> {
            self.0.iter().inspect(|_| look(1))
        }

        pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
            self.0.iter_mut().inspect(|_| look(1))
        }

        pub fn resize(&mut self, count: usize, value: T)
        where
            T: Clone,
        {
            look(count);
            self.0.resize(count, value);
        }
    }

    /// Whoever gets them all has looked at all.
    impl<T> Deref for Slots<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            look(self.0.len());
            &self.0
        }
    }

    impl<T> Index<usize> for Slots<T> {
        type Output = T;

        fn index(&self, at: usize) -> &T {
            look(1);
            &self.0[at]
        }
    }

    impl<T> IndexMut<usize> for Slots<T> {
        fn index_mut(&mut self, at: usize) -> &mut T {
            look(1);
            &mut self.0[at]
        }
    }

    impl<T> Default for Slots<T> {
        fn default() -> Slots<T> {
            Slots(Vec::new())
        }
    }

    impl<T> FromIterator<T> for Slots<T> {
        fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Slots<T> {
            Slots(all.into_iter().collect())
        }
    }

    impl<'a, T> IntoIterator for &'a Slots<T> {
        type Item = &'a T;
        type IntoIter = std::iter::Inspect<std::slice::Iter<'a, T>, fn(&&'a T)>;

        fn into_iter(self) -> Self::IntoIter {
            self.0.iter().inspect(|_| look(1))
        }
    }
}
