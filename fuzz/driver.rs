//! Makes inputs out of other inputs, and keeps the one that something was wrong with.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Randomness that is the same in every run from the same seed (xorshift64*, Vigna 2016).
pub struct Random(u64);

impl Random {
    /// Begins from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("64 bits");
        usize::try_from((self.next() >> 11) % end).expect("below a usize")
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Whether something with a chance of one in `in_so_many` comes about.
    pub fn happens(&mut self, in_so_many: usize) -> bool {
        self.below(in_so_many) == 0
    }
}

/// Bytes that parsers stumble over.
const ODD: &[u8] = b"\0\t\n\r \"#%&+,-./0:;=?@[\\]{}\x7f\x80\xa0\xc0\xff";

/// What is tried: every input of the corpus as it is, then as many changed ones as there are to be.
pub struct Driver {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Driver {
    /// The inputs in `fuzz/corpus/NAME`, and words that inputs of this kind are made of.
    pub fn new(name: &'static str, words: &'static [&'static str]) -> Self {
        let folder = root().join("fuzz/corpus").join(name);
        let files = fs::read_dir(&folder).expect("a corpus");
        let mut files: Vec<PathBuf> = files.flatten().map(|it| it.path()).collect();
        files.sort();
        let corpus: Vec<Vec<u8>> = files
            .iter()
            .map(|it| fs::read(it).expect("an input"))
            .collect();
        assert!(!corpus.is_empty(), "{} is empty", folder.display());
        Self {
            name,
            corpus,
            words,
        }
    }

    /// Adds an input that stands elsewhere.
    pub fn with(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.corpus.push(input.into());
        self
    }

    /// Tries inputs: `usually` so many from the same seed each time, or for as many seconds as
    /// `COUNTERSIGN_FUZZ` says from a new one. An input that `test` panics at is written to
    /// `target/fuzz`.
    pub fn run(&self, usually: usize, mut test: impl FnMut(&[u8])) {
        for input in &self.corpus {
            self.judge(input, &mut test);
        }
        let seconds = std::env::var("COUNTERSIGN_FUZZ").ok();
        let seconds =
            seconds.map(|it| it.parse().expect("COUNTERSIGN_FUZZ is a number of seconds"));
        let seed = seconds.map_or(1, |_: u64| getrandom::u64().expect("randomness"));
        let (start, mut random) = (Instant::now(), Random::seeded(seed));
        let mut count = 0;
        let goes_on = |count| match seconds {
            Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
            None => count < usually,
        };
        while goes_on(count) {
            let input = self.changed(&mut random);
            self.judge(&input, &mut test);
            count += 1;
        }
        eprintln!("{}: {count} inputs in {:?}", self.name, start.elapsed());
    }

    fn judge(&self, input: &[u8], test: &mut impl FnMut(&[u8])) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(input))) {
            let folder = root().join("target/fuzz");
            fs::create_dir_all(&folder).expect("a folder");
            let file = folder.join(format!("{}-{}", self.name, uuid::Uuid::new_v4()));
            fs::write(&file, input).expect("a file");
            eprintln!("{}: {:?}", file.display(), String::from_utf8_lossy(input));
            resume_unwind(panic);
        }
    }

    fn changed(&self, random: &mut Random) -> Vec<u8> {
        let mut input = random.one_of(&self.corpus).clone();
        for _ in 0..=random.below(4) {
            self.change(&mut input, random);
        }
        input.truncate(64 * 1024);
        input
    }

    fn change(&self, input: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(8) {
            0 => drop(input.drain(at..end)),
            1 => input.truncate(at),
            2 => input.insert(at, *random.one_of(ODD)),
            3 if at < input.len() => input[at] = *random.one_of(ODD),
            4 if at < input.len() => input[at] ^= 1 << random.below(8),
            5 => {
                let piece = input[at..end].to_vec();
                let most = if random.happens(50) { 2000 } else { 3 };
                for _ in 0..=random.below(most) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
            6 => {
                let other = random.one_of(&self.corpus);
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => {
                let word = random.one_of(self.words).bytes();
                let until = if random.happens(2) { at } else { end };
                input.splice(at..until, word);
            }
        }
    }
}

/// The package's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
