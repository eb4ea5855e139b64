//! What the tests said, read from what they print.

/// A privileged test that cannot run prints this, its name, a colon and the reason.
pub(super) const SKIP_MARKER: &str = "SKIPPED-PRIVILEGED:";

/// A test of something that only some machines have prints this, its name, a colon and how to have it.
pub(super) const OPTIONAL_MARKER: &str = "SKIPPED-OPTIONAL:";

/// Counts over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Ran and held. Skipped ones are not among them, although the test program counts them so.
    pub(super) passed: usize,
    /// Ran and did not hold.
    pub(super) failed: usize,
    /// Privileged tests that could not run: "name: reason".
    pub(super) skipped: Vec<String>,
    /// Tests that nowhere have to run, and did not: "name: how to have it".
    pub(super) optional: Vec<String>,
}

impl Outcome {
    /// Reads one line of a test program's output.
    pub(super) fn read_line(&mut self, line: &str) {
        // Test programs print "test NAME ... " before and without a line break.
        if let Some((_, skipped)) = line.split_once(SKIP_MARKER) {
            self.skipped.push(skipped.trim().to_owned());
        }
        if let Some((_, skipped)) = line.split_once(OPTIONAL_MARKER) {
            self.optional.push(skipped.trim().to_owned());
        }
        if let Some((_, counts)) = line.split_once("test result: ") {
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
        }
    }

    /// Takes the counts of another stream of the same run.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.optional.extend(other.optional);
    }

    /// Removes the skipped ones from those that passed.
    pub(super) fn settle(&mut self) {
        self.passed = self.passed.saturating_sub(self.skipped.len() + self.optional.len());
    }
}

/// "ok. 12 passed; 0 failed; …", " passed" → 12.
fn count(counts: &str, word: &str) -> usize {
    counts
        .split(';')
        .find_map(|part| part.trim_end().strip_suffix(word))
        .and_then(|part| part.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome {
        let mut outcome = Outcome::default();
        text.lines().for_each(|line| outcome.read_line(line));
        outcome.settle();
        outcome
    }

    #[test]
    fn counts_of_several_programs_are_added_up() {
        let outcome = read(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        );
        assert_eq!((outcome.passed, outcome.failed), (15, 2));
        assert!(outcome.skipped.is_empty());
    }

    #[test]
    fn a_skipped_test_is_not_one_that_passed() {
        let outcome = read(
            "test attach ... SKIPPED-PRIVILEGED: attach: needs root\n\
             ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.skipped, ["attach: needs root"]);
    }

    #[test]
    fn an_optional_test_that_was_skipped_did_not_pass_either() {
        let outcome = read(
            "test clients ... SKIPPED-OPTIONAL: clients: no clients to run\n\
             ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(outcome.passed, 1);
        assert!(outcome.skipped.is_empty());
        assert_eq!(outcome.optional, ["clients: no clients to run"]);
    }
}
