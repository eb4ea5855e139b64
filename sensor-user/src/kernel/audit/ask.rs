//! Synthetic packets through the live program (`BPF_PROG_TEST_RUN`).
//!
//! The question stands in the packet's metadata, which TC has not: there the program cannot tell the
//! daemon's packet from another, would count it and remember it, and so is not asked. Its verdicts are
//! still compared entry by entry, and its attachment is looked at.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsFd, BorrowedFd},
};

use ring::rand::{SecureRandom, SystemRandom};
use weir_common::abi::synthetic::{
    ANSWER_ALLOWED, ANSWER_GIVEN, ANSWER_LIMITED, ANSWER_WOULD, Nonce, Question,
};

use super::super::{Kernel, sys};
use crate::{
    daemon::sensor::{Attachment, Hook},
    enforce::audit::synthetic::{Answer, Fate},
};

/// Words of `struct xdp_md`.
const XDP_MD: usize = 6;

// enum xdp_action, include/uapi/linux/bpf.h
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;

impl Kernel {
    /// Asks the program on an interface's way in what it does with a frame. `None`: it is on TC.
    pub(super) fn ask_live(
        &mut self,
        attachment: &Attachment,
        frame: &[u8],
    ) -> io::Result<Option<Answer>> {
        if !matches!(attachment.ingress, Hook::XdpNative | Hook::XdpGeneric) {
            return Ok(None);
        }
        let nonce = fresh()?;
        self.set_nonce(&nonce)?;
        let answer = self.ask_with(attachment, &nonce, frame);
        // It is never used twice.
        self.set_nonce(&Nonce::default())?;
        answer.map(Some)
    }

    /// Puts a nonce where the programs look for it; the default: no packet is synthetic.
    pub fn set_nonce(&self, nonce: &Nonce) -> io::Result<()> {
        self.tables.nonce.put(&0, nonce).map_err(io::Error::other)
    }

    fn ask_with(
        &mut self,
        attachment: &Attachment,
        nonce: &Nonce,
        frame: &[u8],
    ) -> io::Result<Answer> {
        let program = self
            .ingress_program(attachment)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the program is not loaded"))?;
        run(program.as_fd(), nonce, frame)
    }
}

/// Puts a question before a frame and runs a program over both.
fn run(program: BorrowedFd<'_>, nonce: &Nonce, frame: &[u8]) -> io::Result<Answer> {
    let mut packet: Vec<u8> = nonce.iter().flat_map(|word| word.to_ne_bytes()).collect();
    packet.resize(size_of::<Question>(), 0);
    packet.extend_from_slice(frame);
    let mut context = [0; XDP_MD];
    // Where the packet begins behind its metadata, and where it ends.
    let [data, data_end, ..] = &mut context;
    (*data, *data_end) = (size_of::<Question>() as u32, packet.len() as u32);
    let run = sys::TestRun { packet: &packet, context: &context, mark_at: None, repeat: 1 };
    let result = sys::test_run(program, &run)?;
    let fate = match result.return_value {
        XDP_DROP => Fate::Dropped,
        XDP_TX => Fate::Rejected,
        _ => Fate::Passed,
    };
    let word = |at: usize| {
        let bytes = result.packet.get(at..at + 4).and_then(|it| it.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    let (class, flags) = (word(offset_of!(Question, class)), word(offset_of!(Question, flags)));
    if flags & ANSWER_GIVEN == 0 {
        return Err(io::Error::other("the program does not know the nonce"));
    }
    Ok(Answer {
        fate,
        class: class as u16,
        observed: flags & ANSWER_WOULD != 0,
        allowed: flags & ANSWER_ALLOWED != 0,
        limited: flags & ANSWER_LIMITED != 0,
    })
}

/// A nonce that nobody can guess.
fn fresh() -> io::Result<Nonce> {
    let mut bytes = [0; size_of::<Nonce>()];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut nonce = Nonce::default();
    for (word, bytes) in nonce.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    Ok(nonce)
}
