//! Real files that grow, move and shrink.

use std::{fs, io::Write};

use proptest::prelude::*;

use super::*;

/// A directory of a test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("weir-tail-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn log(&self) -> PathBuf {
        self.0.join("access.log")
    }

    fn tail(&self) -> Tail {
        Tail::new(self.log())
    }

    fn append(&self, text: &str) {
        append(&self.log(), text);
    }

    fn rotate(&self) -> PathBuf {
        let to = self.0.join("access.log.1");
        fs::rename(self.log(), &to).unwrap();
        to
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Reads until there is no more.
fn read(tail: &mut Tail, now_s: u64) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let more = tail.read(now_s * SECOND_NS, &mut |line| {
            lines.push(match line {
                Ok(line) => String::from_utf8_lossy(line).into_owned(),
                Err(refusal) => format!("{refusal:?}"),
            });
        });
        if !more {
            return lines;
        }
    }
}

#[test]
fn begins_at_the_end_and_follows() {
    let place = Place::new("follow");
    place.append("old 1\nold 2\n");
    let mut tail = place.tail();
    assert!(read(&mut tail, 0).is_empty());
    place.append("new 1\r\n\nnew 2\npart");
    assert_eq!(read(&mut tail, 1), ["new 1", "new 2"]);
    place.append("ial\n");
    assert_eq!(read(&mut tail, 2), ["partial"]);
    assert_eq!((tail.behind(), tail.problem()), (0, None));
}

#[test]
fn a_start_in_the_middle_of_a_line_waits_for_the_next() {
    let place = Place::new("middle");
    place.append("old\nhalf of a li");
    let mut tail = place.tail();
    assert!(read(&mut tail, 0).is_empty());
    place.append("ne\nnew\n");
    assert_eq!(read(&mut tail, 1), ["new"]);
}

#[test]
fn a_file_that_appears_later_is_read_from_its_beginning() {
    let place = Place::new("later");
    let mut tail = place.tail();
    assert!(read(&mut tail, 0).is_empty());
    assert!(tail.problem().unwrap().contains("No such file"), "{:?}", tail.problem());
    place.append("first\n");
    assert_eq!(read(&mut tail, 1), ["first"]);
    assert_eq!(tail.problem(), None);
}

#[test]
fn renamed_and_made_anew_while_the_writer_goes_on() {
    let place = Place::new("rename");
    place.append("");
    let mut tail = place.tail();
    read(&mut tail, 0);
    place.append("one\ntw");
    assert_eq!(read(&mut tail, 1), ["one"]);
    let renamed = place.rotate();
    append(&renamed, "o\n");
    assert_eq!(read(&mut tail, 2), ["two"], "there is no new file yet");
    place.append("three\n");
    append(&renamed, "late 1\n");
    assert_eq!(read(&mut tail, 3), ["late 1", "three"]);
    // Until it is told, the writer goes on with the renamed file.
    append(&renamed, "late 2\n");
    place.append("four\n");
    assert_eq!(read(&mut tail, 4), ["late 2", "four"]);
    read(&mut tail, 60);
    append(&renamed, "too late\n");
    place.append("five\n");
    assert_eq!(read(&mut tail, 61), ["five"]);
}

#[test]
fn rotations_in_quick_succession_lose_nothing() {
    let place = Place::new("quick");
    place.append("");
    let mut tail = place.tail();
    read(&mut tail, 0);
    let mut expected = Vec::new();
    let mut found = Vec::new();
    for turn in 0..20u64 {
        place.append(&format!("{turn} a\n{turn} b\n"));
        expected.extend([format!("{turn} a"), format!("{turn} b")]);
        found.extend(read(&mut tail, turn));
        place.rotate();
        place.append("");
        assert!(tail.renamed.len() <= MOST_RENAMED);
    }
    assert_eq!(found, expected);
}

#[test]
fn copied_and_truncated() {
    let place = Place::new("truncate");
    place.append("");
    let mut tail = place.tail();
    read(&mut tail, 0);
    place.append("one\ntwo\npart");
    assert_eq!(read(&mut tail, 1), ["one", "two"]);
    OpenOptions::new().write(true).open(place.log()).unwrap().set_len(0).unwrap();
    place.append("three\n");
    // What was left of a line is lost, and told.
    assert_eq!(read(&mut tail, 2), ["NotUnderstood", "three"]);
    // Longer at once than it was before: only its contents tell.
    OpenOptions::new().write(true).open(place.log()).unwrap().set_len(0).unwrap();
    place.append("four, and much more than before\n");
    assert_eq!(read(&mut tail, 3), ["four, and much more than before"]);
    // To the very same length.
    OpenOptions::new().write(true).open(place.log()).unwrap().set_len(0).unwrap();
    assert!(read(&mut tail, 4).is_empty());
    place.append("five\n");
    assert_eq!(read(&mut tail, 5), ["five"]);
}

#[test]
fn long_lines_are_passed_over_in_bounded_memory() {
    let place = Place::new("long");
    place.append("");
    let mut tail = place.tail();
    read(&mut tail, 0);
    let long = "x".repeat(5 * CHUNK);
    place.append(&format!("before\n{long}"));
    assert_eq!(read(&mut tail, 1), ["before", "TooLong"]);
    assert!(tail.current.as_ref().unwrap().partial.capacity() <= LONGEST_LINE);
    place.append(&format!("{long}\nafter\n{}\n", "y".repeat(LONGEST_LINE)));
    let found = read(&mut tail, 2);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].as_str(), found[1].len()), ("after", LONGEST_LINE));
}

#[test]
fn what_is_no_file_is_a_problem_and_not_waited_for() {
    let place = Place::new("pipe");
    nix::unistd::mkfifo(&place.log(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut tail = place.tail();
    assert!(read(&mut tail, 0).is_empty());
    assert_eq!(tail.problem(), Some("this is no regular file"));
    fs::remove_file(place.log()).unwrap();
    place.append("now\n");
    assert_eq!(read(&mut tail, 1), ["now"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However writes, looks, renames and truncations alternate: lines written between two looks are
    /// read once, in order.
    #[test]
    fn every_line_once(steps in prop::collection::vec((0u8..5, 1usize..4), 1..40)) {
        let place = Place::new("model");
        place.append("");
        let mut tail = place.tail();
        read(&mut tail, 0);
        let (mut expected, mut found, mut number) = (Vec::new(), Vec::new(), 0u32);
        for (second, (step, count)) in (1u64..).zip(steps) {
            match step {
                0 => {
                    place.rotate();
                    place.append("");
                }
                1 => {
                    // What was not read yet is lost with it.
                    found.extend(read(&mut tail, second));
                    OpenOptions::new().write(true).open(place.log()).unwrap().set_len(0).unwrap();
                }
                _ => for _ in 0..count {
                    number += 1;
                    let line = format!("{number} {}", "-".repeat((number % 90) as usize));
                    place.append(&format!("{line}\n"));
                    expected.push(line);
                },
            }
            if step != 3 {
                found.extend(read(&mut tail, second));
            }
        }
        found.extend(read(&mut tail, 1000));
        prop_assert_eq!(found, expected);
    }
}
