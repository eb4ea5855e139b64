//! Whatever is wrong is said clearly, with what to do about it, and leaves nothing half-done.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    time::Duration,
};

use weir_common::abi::ABI_VERSION;
use weir_lab::{
    actors::visit,
    net::Lab,
    require_root,
    server::Server,
    stranger::{Hook, Purpose, Stranger, edge_inode},
    weir::{Refusal, Traces, Weir, demo_policy},
};

const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
const PATIENCE: Duration = Duration::from_secs(5);

/// Exit codes: the verb failed; the command line was not understood.
const FAILED: i32 = 1;
const NOT_UNDERSTOOD: i32 = 2;

/// `weir run` on the edge with the demo's policy.
fn run(weir: &Weir<'_>) -> Command {
    let mut command = weir.command(["run", "--interface", "edge0", "--policy"]);
    command.arg(demo_policy());
    command
}

/// A start that must fail with these words, and leave everything as it was.
fn refused(weir: &Weir<'_>, command: &mut Command, words: &[&str]) -> String {
    let before = Traces::of(weir.lab()).unwrap();
    let refusal = Refusal::of(command).unwrap();
    refusal.mentions(words).unwrap();
    assert_eq!(refusal.code, FAILED, "{}", refusal.said);
    assert!(!refusal.said.contains("panicked"), "{}", refusal.said);
    before.wait(weir.lab()).unwrap();
    refusal.said
}

#[test]
fn an_interface_that_is_not_there_is_named_beside_those_that_are() {
    require_root!("an_interface_that_is_not_there_is_named_beside_those_that_are");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let mut command = weir.command(["run", "-i", "edge7", "--policy"]);
    refused(&weir, command.arg(demo_policy()), &["edge7", "edge0"]);

    // Where the second one is wrong, the first is not attached to either.
    refused(&weir, run(&weir).args(["-i", "edge7"]), &["edge7"]);
    refused(&weir, run(&weir).args(["-i", "edge0"]), &["edge0", "twice"]);
}

#[test]
fn missing_privileges_are_named() {
    require_root!("missing_privileges_are_named");
    // CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF (include/uapi/linux/capability.h).
    const CAPABILITIES: [libc::c_ulong; 4] = [12, 21, 38, 39];
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let mut command = run(&weir);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl is a plain
    // system call.
    unsafe {
        command.pre_exec(|| {
            for capability in CAPABILITIES {
                if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let words = ["privileges", "CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "root"];
    refused(&weir, &mut command, &words);
}

#[test]
fn a_kernel_without_btf_is_told_from_a_broken_one() {
    require_root!("a_kernel_without_btf_is_told_from_a_broken_one");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let mut command = run(&weir);
    hide(&mut command, c"/sys/kernel/btf");
    refused(&weir, &mut command, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
}

/// Lets a command see an empty directory in the place of one that is there.
fn hide(command: &mut Command, path: &'static std::ffi::CStr) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are plain
    // system calls with constant strings.
    unsafe {
        command.pre_exec(move || {
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let none = std::ptr::null();
            let hidden = libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
                && libc::mount(c"none".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, none.cast())
                    == 0;
            if hidden { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
}

#[test]
fn a_place_that_is_no_bpf_file_system_is_not_written_to() {
    require_root!("a_place_that_is_no_bpf_file_system_is_not_written_to");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let place = lab.directory().join("ordinary");
    fs::create_dir(&place).unwrap();
    let shown = place.display().to_string();
    let words = [&shown, "not a BPF file system", "mount -t bpf"].map(|word: &str| word);
    refused(&weir, run(&weir).arg("--bpffs").arg(&place), &words);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);

    let missing = lab.directory().join("missing");
    let words = [missing.to_str().unwrap(), "mkdir", "mount -t bpf"];
    refused(&weir, run(&weir).arg("--bpffs").arg(&missing), &words);
    assert!(!missing.exists());
}

#[test]
fn what_a_stranger_pinned_in_our_place_is_not_reused_and_not_removed() {
    require_root!("what_a_stranger_pinned_in_our_place_is_not_reused_and_not_removed");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let maps = lab.bpffs().join(format!("weir/v{ABI_VERSION}/maps"));
    let pins: [(&str, Stranger, &str); 4] = [
        // Our name and kind, another value.
        ("V4_EXACT", Stranger::map(4, 4).unwrap(), "value size"),
        // Our name, nothing else.
        ("CONTROL", Stranger::map(16, 48).unwrap(), "key size"),
        // Not even a map.
        ("SOURCES", Stranger::program(Purpose::TcDrop).unwrap(), "not a map"),
        // Outside of the versioned directory.
        ("../../KILL", Stranger::map(4, 4).unwrap(), "type"),
    ];
    for (name, stranger, what) in pins {
        let path = maps.join(name);
        stranger.pin(&path).unwrap();
        let name = Path::new(name).file_name().unwrap().to_str().unwrap();
        refused(&weir, &mut run(&weir), &[name, what, "weir detach"]);
        fs::remove_file(&path).unwrap();
    }

    // With the strangers gone, what they left does not matter.
    weir.run(&["edge0"], &demo_policy()).unwrap();
}

#[test]
fn a_strangers_link_in_our_place_is_left_alone() {
    require_root!("a_strangers_link_in_our_place_is_left_alone");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let index = lab.edge().run(|| nix::net::if_::if_nametoindex("edge0")).unwrap().unwrap();
    let inode = edge_inode(&lab).unwrap();
    let pin = lab.bpffs().join(format!("weir/links/{inode}-{index}-xdp"));
    let program = Stranger::program(Purpose::XdpPass).unwrap();
    let link = program.attach(lab.edge(), "edge0", Hook::Xdp).unwrap();
    link.pin(&pin).unwrap();
    drop(link);
    refused(&weir, &mut run(&weir), &["edge0", "link", "not the one that Weir pinned"]);

    // A map where a link should be is no better.
    fs::remove_file(&pin).unwrap();
    Stranger::map(4, 4).unwrap().pin(&pin).unwrap();
    refused(&weir, &mut run(&weir), &[pin.to_str().unwrap(), "bpf-map"]);
}

#[test]
fn an_ordinary_file_in_our_place_is_named() {
    require_root!("an_ordinary_file_in_our_place_is_named");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    // A daemon's state that cannot be read costs explanations, never the start.
    fs::write(lab.state_dir().join("weir.db"), "{torn").unwrap();
    fs::write(lab.state_dir().join("services.json"), "\u{0}\u{1}").unwrap();
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    daemon.terminate().unwrap();

    // A run directory that is a file is another matter.
    let file = lab.directory().join("file");
    fs::write(&file, "").unwrap();
    let words = [file.to_str().unwrap(), "--run-dir"];
    refused(&weir, run(&weir).arg("--run-dir").arg(&file), &words);
}

#[test]
fn a_second_daemon_is_told_who_the_first_is() {
    require_root!("a_second_daemon_is_told_who_the_first_is");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    let pid = daemon.pid().to_string();
    refused(&weir, &mut run(&weir), &["already running", &pid, "--run-dir"]);
    // The first is none the worse for it.
    assert_eq!(weir.status().unwrap().pid, daemon.pid());
    visit(&lab, &server, PERSON.into(), PATIENCE).unwrap();
}

#[test]
fn a_mistake_in_a_policy_is_shown_where_it_is() {
    require_root!("a_mistake_in_a_policy_is_shown_where_it_is");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let policy = weir
        .policy(
            "kind: Site\nservices: {shop: {tcp: [443]}}\nladders: {one: [{at: 50, action: drop, for: \
             10m}]}\n---\nkind: Policy\nmetadata: {name: shop}\napplies: [shop]\nrules:\n  - name: \
             many\n    points: 60\n    when: source.connections_10 >= 60\n",
        )
        .unwrap();
    let mut command = weir.command(["run", "-i", "edge0", "-p"]);
    let said = refused(&weir, command.arg(&policy), &["source.connections_10", "^"]);
    let place = format!("{}:11:11", policy.display());
    assert!(said.contains(&place), "no {place} in:\n{said}");

    let mut command = weir.command(["run", "-i", "edge0", "-p", "/nonexistent.yaml"]);
    refused(&weir, &mut command, &["/nonexistent.yaml", "No such file"]);
}

#[test]
fn a_policy_that_went_bad_is_not_loaded_and_the_last_good_one_stays() {
    require_root!("a_policy_that_went_bad_is_not_loaded_and_the_last_good_one_stays");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let text = fs::read_to_string(demo_policy()).unwrap();
    let policy = weir.policy(&text).unwrap();
    let daemon = weir.run(&["edge0"], &policy).unwrap();
    weir.policy(&text.replace("action: drop", "action: explode")).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    weir_lab::clock::wait_until("the mistake is reported", PATIENCE, || {
        Ok(daemon.log().contains("explode"))
    })
    .unwrap();
    let status = weir.status().unwrap();
    assert_eq!(status.mode.effective, "enforce");
    assert!(status.warnings.iter().any(|warning| warning.contains("explode")), "{status:?}");
}

#[test]
fn a_full_table_says_so_and_breaks_nothing_else() {
    require_root!("a_full_table_says_so_and_breaks_nothing_else");
    const ROOM: u32 = 64;
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let text = fs::read_to_string(demo_policy()).unwrap();
    let tables =
        ["v4_exact", "v4_prefixes", "handshakes", "flows", "sources", "buckets", "outbound"];
    let tables = tables.map(|table| format!("{table}: {ROOM}")).join(", ");
    let tiny = text.replace("sensor:\n", &format!("sensor:\n  capacities: {{{tables}}}\n"));
    assert_ne!(tiny, text);
    let policy = weir.policy(&tiny).unwrap();
    let _daemon = weir.run(&["edge0"], &policy).unwrap();

    // More than there is room for.
    let list = lab.directory().join("many");
    let many = (1..=3 * ROOM).map(|n| format!("192.0.2.{n}\n")).collect::<String>();
    fs::write(&list, many).unwrap();
    let list = list.to_str().unwrap();
    let refusal = weir.refusal(&["block", "--file", list, "--reason", "too many"]).unwrap();
    refusal.mentions(&["V4_EXACT is full", "capacity"]).unwrap();
    assert_eq!(refusal.code, FAILED);

    // What was written counts, other tables take what comes, and more visitors than the tables of
    // sources and flows have room for are served.
    let status = weir.status().unwrap();
    assert!(status.map("V4_EXACT").unwrap().entries.unwrap() >= u64::from(ROOM), "{status:?}");
    assert!(!status.warnings.is_empty(), "nothing tells the operator");
    weir.ask(&["block", "192.0.3.0/24", "--reason", "a prefix"]).unwrap();
    for visitor in 1..=100 {
        visit(&lab, &server, lab.link().client_v4(visitor).into(), PATIENCE).unwrap();
    }

    // Once there is room again, everything is well.
    weir.ask(&["unblock", "--all"]).unwrap();
    weir.ask(&["block", "192.0.2.1", "--reason", "room again"]).unwrap();
    let bots: Vec<IpAddr> =
        weir.verdicts().unwrap().verdicts.iter().map(|verdict| verdict.prefix.addr()).collect();
    assert_eq!(bots, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_was_mistyped_is_explained_and_nothing_is_changed() {
    require_root!("what_was_mistyped_is_explained_and_nothing_is_changed");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();

    // Without a daemon there is nobody to ask.
    let refusal = weir.refusal(&["block", "192.0.2.1", "--reason", "x"]).unwrap();
    refusal.mentions(&["control.sock", "weir run"]).unwrap();
    assert_eq!(refusal.code, FAILED);

    let _daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    let list = lab.directory().join("list");
    fs::write(&list, "# ours\n192.0.2.1\nnonsense\n\n192.0.2.0/40\n192.0.2.2\n").unwrap();
    let path = list.to_str().unwrap();
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["block", "192.0.2.300", "--reason", "x"], FAILED, &["192.0.2.300"]),
        (
            &["block", "shop.test", "--reason", "x"],
            FAILED,
            &["shop.test", "names are not looked up"],
        ),
        (&["block", "0.0.0.0/0", "--reason", "x"], FAILED, &["0.0.0.0/0", "covers every address"]),
        (
            &["block", "192.0.2.1", "--for", "soon", "--reason", "x"],
            NOT_UNDERSTOOD,
            &["soon", "10m"],
        ),
        (&["block", "192.0.2.1"], NOT_UNDERSTOOD, &["--reason"]),
        (
            &["block", "192.0.2.1", "--reason", "x", "--service", "shpo"],
            FAILED,
            &["shpo", "shop", "api"],
        ),
        (
            &["block", "192.0.2.9", "--file", path, "--reason", "x"],
            FAILED,
            &["list:3: `nonsense`", "list:5: `192.0.2.0/40`", "nothing was changed"],
        ),
        (&["block", "--file", "/nonexistent", "--reason", "x"], FAILED, &["/nonexistent"]),
        (&["unblok"], NOT_UNDERSTOOD, &["unblok", "unblock"]),
    ];
    for (arguments, code, words) in cases {
        let refusal = weir.refusal(arguments).unwrap();
        refusal.mentions(words).unwrap();
        assert_eq!(refusal.code, code, "{arguments:?}: {}", refusal.said);
        assert_eq!(weir.verdicts().unwrap().verdicts.len(), 0, "{arguments:?} changed something");
    }
}
