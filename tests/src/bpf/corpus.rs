//! Captures of anyone's making, as far as they hold Ethernet or bare IP.

use std::path::Path;

use anyhow::Result;
use weir_common::packet::Link;
use weir_sensor::capture::{Capture, CaptureError, LinkType};

/// A capture file's packets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frames {
    /// Packets with the time of capture, ns, in the order of the file.
    pub frames: Vec<(u64, Vec<u8>)>,
    /// What stands before the IP header; `None` for link types that Weir does not attach to.
    pub link: Option<Link>,
}

/// Reads at most `limit` packets, all of the link type of the first one. A file that is cut off gives
/// what is whole.
pub fn read_frames(path: &Path, limit: usize) -> Result<Frames> {
    let mut capture = Capture::open(path)?;
    let mut found = Frames::default();
    while found.frames.len() < limit {
        let frame = match capture.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(CaptureError::CutOff { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let link = match frame.link {
            LinkType::Ethernet => Some(Link::Ethernet),
            LinkType::Ip => Some(Link::None),
            _ => None,
        };
        if found.frames.is_empty() {
            found.link = link;
        }
        if found.link == link {
            found.frames.push((frame.time_ns, frame.bytes.to_vec()));
        }
    }
    Ok(found)
}
