/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound).expect("64 bits")).expect("below a usize")
    }

    /// True that many times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Between the bounds so many of the items, none twice.
    pub fn some<T: Clone + PartialEq>(&mut self, items: &[T], least: usize, most: usize) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        let mut picked: Vec<T> = Vec::new();
        while picked.len() < count.min(items.len()) {
            let item = self.pick(items).clone();
            if !picked.contains(&item) {
                picked.push(item);
            }
        }
        picked
    }
}
