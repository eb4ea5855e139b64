//! Real clients: what `weir fingerprint` says about their hellos is what tools say that others wrote.
//!
//! The clients and the tools, tshark 4.4 and Suricata 7, are Debian's, from the folder that
//! `cargo xtask setup --clients` fetches; without it, the first test says so and is skipped. A
//! recording of one such run, with what the tools said, is kept beside the tests, and every
//! checkout is held to it.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use weir_lab::{
    clients::{
        Appearance, Cast, Connection, Fingerprint, Fingerprints, Folder, HEADINGS, Testimony,
        of_suricata, of_tshark, of_weir, testimonies,
    },
    net::{Lab, Recorder, write_pcap},
    require_root,
    server::Server,
    weir,
};

/// A recording, and a table of what tshark and Suricata say about it. The first test writes new
/// ones into the folder that the environment variable `WEIR_RECORD_CLIENTS` names.
const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clients.pcap");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clients.tsv");

/// More frames than all visits have.
const FRAMES: usize = 20_000;

#[test]
fn real_clients_have_the_fingerprints_that_other_tools_compute() {
    let name = "real_clients_have_the_fingerprints_that_other_tools_compute";
    require_root!(name);
    let Some(folder) = Folder::find() else {
        Folder::say_missing(name);
        return;
    };
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let workplace = folder.workplace(&lab).unwrap();
    let cast = Cast::new(&lab, &folder, &workplace).unwrap();
    let recorder = Recorder::start(lab.edge(), lab.link().edge_interface, FRAMES).unwrap();
    let appearances = cast.play(&server).unwrap();
    let frames = recorder.stop().unwrap();
    let capture = workplace.outside("clients.pcap");
    write_pcap(&capture, &frames).unwrap();

    let tshark = of_tshark(&folder, lab.clients(), &workplace, "clients.pcap").unwrap();
    let suricata = of_suricata(&folder, lab.clients(), &workplace, "clients.pcap").unwrap();
    let rows = testimonies(&appearances, &tshark, &suricata);
    let lines: Vec<String> = rows.iter().map(Testimony::to_line).collect();
    let table = format!("{HEADINGS}\n{}\n", lines.join("\n"));
    println!("{table}");
    if let Some(place) = env::var_os("WEIR_RECORD_CLIENTS").map(PathBuf::from) {
        fs::copy(&capture, place.join("clients.pcap")).unwrap();
        fs::write(place.join("clients.tsv"), table).unwrap();
    }
    for Appearance { name, addresses, connections, .. } in &appearances {
        for address in addresses {
            let count = rows.iter().filter(|row| row.connection.client.ip() == *address).count();
            assert!(count >= *connections, "{name} at {address}: {count} of {connections}");
        }
    }
    compare(&rows, &of_weir(&weir::binary().unwrap(), &capture).unwrap());
}

#[test]
fn a_recording_of_real_clients_has_the_fingerprints_that_other_tools_computed() {
    let text = fs::read_to_string(TABLE).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADINGS));
    let rows: Vec<Testimony> = lines.map(|line| Testimony::of_line(line).unwrap()).collect();
    compare(&rows, &of_weir(&weir::binary().unwrap(), Path::new(RECORDING)).unwrap());
}

/// Every connection of the tools is one of Weir's, and the other way round, with equal fingerprints.
fn compare(rows: &[Testimony], ours: &Fingerprints) {
    let clients: BTreeSet<&str> = rows.iter().map(|row| &*row.client).collect();
    println!("{} connections of {} clients", rows.len(), clients.len());
    assert!(clients.len() > 10 && rows.len() > 2 * clients.len());
    let theirs: BTreeSet<Connection> = rows.iter().map(|row| row.connection).collect();
    assert_eq!(ours.keys().copied().collect::<BTreeSet<_>>(), theirs);
    let mut differences = Vec::new();
    for row in rows {
        let seen = &ours[&row.connection];
        if let Err(error) = row.agrees(seen) {
            differences.push(format!("{} {}: {seen:?}: {error}", row.client, row.connection));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let mut changing = 0;
    for client in clients {
        let seen: Vec<&Fingerprint> = rows
            .iter()
            .filter(|row| row.client == client)
            .map(|row| &ours[&row.connection])
            .collect();
        // The second connection of most clients resumes a session, which changes their JA4.
        let stable: BTreeSet<&str> = seen.iter().map(|seen| &*seen.stable).collect();
        assert_eq!(stable.len(), 1, "{client}: {stable:?}");
        let ja4s: BTreeSet<&str> = seen.iter().map(|seen| &*seen.ja4).collect();
        changing += usize::from(ja4s.len() > 1);
        // A browser's post-quantum key share is longer than a packet.
        if client.starts_with("chromium") {
            assert!(seen.iter().all(|seen| seen.segments >= 2), "{client}: {seen:?}");
        }
    }
    assert!(changing > 3, "{changing} clients resumed a session");
}
