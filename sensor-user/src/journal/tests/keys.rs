//! Whose signatures count.

use super::*;

impl Book {
    /// A new key signs from now on, as the old one's last checkpoint says.
    fn rotate(&mut self) {
        let new = SigningKey::make(&self.folder.join("signature.key")).unwrap();
        let body = json!({
            "key": "signature",
            "old": super::super::hex(&self.key.public()),
            "new": super::super::hex(&new.public()),
        });
        self.write(Record::new(Kind::Key, &Actor::User(0), body));
        self.sign();
        self.key = new.put_into_place().unwrap();
    }
}

fn knowing(book: &Book, key: &SigningKey) -> Knowledge {
    Knowledge { keys: vec![key.public()], ..book.knowledge() }
}

#[test]
fn a_key_that_replaced_the_trusted_one_is_trusted_and_so_is_the_one_that_it_replaced() {
    let mut book = Book::of("rotated", 20);
    let first = SigningKey::read(&book.folder.join("signature.key")).unwrap().unwrap();
    book.rotate();
    for number in 0..10 {
        book.decide(number);
    }
    book.sign();
    book.rotate();
    book.decide(1);
    book.sign();
    let report = book.verify_with(&knowing(&book, &first));
    assert!(report.holds, "who knows the first: {:?}", told(&report));
    assert_eq!(report.signed_through, 33);
    let report = book.verify();
    assert!(report.holds, "who knows the last: {:?}", told(&report));
    let report = book.verify_with(&Knowledge { keys: Vec::new(), ..book.knowledge() });
    assert!(report.holds && report.notes.iter().any(|note| note.contains("--public-key")));
}

#[test]
fn a_chain_that_somebody_else_signed_anew_is_found() {
    let mut book = Book::of("forged", 20);
    let ours = std::mem::replace(
        &mut book.key,
        SigningKey::open(
            &std::env::temp_dir().join(format!("weir-forger-{}.key", std::process::id())),
        )
        .unwrap(),
    );
    // Everything is made anew, with another key, and the head file too.
    book.change(
        "DELETE FROM journal; DELETE FROM journal_personal; DELETE FROM journal_checkpoints",
    );
    for number in 0..20 {
        book.decide(number + 50);
    }
    book.sign();
    let report = book.verify_with(&knowing(&book, &ours));
    assert!(finds(&report, Wrong::Key, 20), "{:?}", told(&report));
    assert_eq!(report.signed_through, 0);
    // A record that says that the forger's key replaced ours counts for nothing without our signature.
    let body = json!({
        "key": "signature",
        "old": super::super::hex(&ours.public()),
        "new": super::super::hex(&book.key.public()),
    });
    book.write(Record::new(Kind::Key, &Actor::User(0), body));
    book.sign();
    let report = book.verify_with(&knowing(&book, &ours));
    assert!(finds(&report, Wrong::Key, 20), "{:?}", told(&report));
    let _ = fs::remove_file(
        std::env::temp_dir().join(format!("weir-forger-{}.key", std::process::id())),
    );
}

#[test]
fn the_tail_is_checked_quickly_at_the_start() {
    let book = Book::of("tail", 95);
    let head = || Head::read(&book.folder.join("journal.head"));
    let report = super::super::verify::verify_tail(&book.connection, &head()).unwrap();
    assert!(report.holds, "{:?}", told(&report));
    assert_eq!((report.first, report.last), (81, 95), "from the last checkpoint but one on");
    book.change("UPDATE journal SET body = '{}' WHERE seq = 93");
    let report = super::super::verify::verify_tail(&book.connection, &head()).unwrap();
    assert!(finds(&report, Wrong::Edited, 93), "{:?}", told(&report));
    book.change(
        "DELETE FROM journal WHERE seq > 85; DELETE FROM journal_checkpoints WHERE seq > 85",
    );
    let report = super::super::verify::verify_tail(&book.connection, &head()).unwrap();
    assert_eq!(told(&report), ["Cut 86-90"]);
}
