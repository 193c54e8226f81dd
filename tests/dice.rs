//! Numbers that look random, and are the same in each run.

/// A linear congruential generator: the same numbers for the same seed.
pub struct Dice(pub u64);

impl Dice {
    /// The next number; its lower bits repeat soon.
    pub fn roll(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 33) as usize % limit
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }
}
