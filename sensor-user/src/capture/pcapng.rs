//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks; packets refer to interfaces, which say
//! link type and clock.

use super::{
    CaptureError, Frame, LinkType, MAX_FRAME,
    source::{Order, Source},
};

/// The type of a section header: a palindrome, so that it is known before the byte order is.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Obsolete since 2004, still written by some.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_CLOCK: u16 = 9;
const OPTION_CLOCK_OFFSET: u16 = 14;

/// Type and length before the body, the length again behind it.
const FRAME_LEN: u32 = 12;
/// Longest block that is kept: a frame with comments. Longer ones are only passed over.
const MAX_BLOCK: u32 = MAX_FRAME + (1 << 16);
/// Most interfaces of a section.
const MAX_INTERFACES: usize = 1 << 16;

const BLOCK: &str = "block";
const SECOND_NS: i128 = 1_000_000_000;

#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snapshot: u32,
    /// `if_tsresol`: a negative power of ten, or of two with the high bit.
    clock: u8,
    offset_s: i64,
}

/// A file of this format.
pub(super) struct Pcapng {
    source: Source,
    order: Order,
    interfaces: Vec<Interface>,
    body: Vec<u8>,
}

/// Where in a body a packet is.
struct Place {
    interface: Interface,
    ticks: Option<u64>,
    at: usize,
    captured: u32,
    original: u32,
}

impl Pcapng {
    pub(super) const fn open(source: Source) -> Self {
        Self { source, order: Order::Little, interfaces: Vec::new(), body: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        loop {
            let start = self.source.offset();
            let Some(kind) = self.block(start)? else {
                return Ok(None);
            };
            let problem = match kind {
                SECTION => {
                    self.interfaces.clear();
                    continue;
                }
                INTERFACE if self.interfaces.len() >= MAX_INTERFACES => "is one interface too many",
                INTERFACE => match self.interface() {
                    Some(interface) => {
                        self.interfaces.push(interface);
                        continue;
                    }
                    None => "is too short for an interface",
                },
                ENHANCED_PACKET | PACKET | SIMPLE_PACKET => match self.place(kind) {
                    Some(place) => return self.frame(&place, start).map(Some),
                    None => "is too short for a packet, or names an interface that is not there",
                },
                _ => continue,
            };
            return Err(self.source.damaged(BLOCK, start, problem.to_owned()));
        }
    }

    /// Reads one block, its body only if it is of a kind that matters. Its kind; `None` at the end.
    fn block(&mut self, start: u64) -> Result<Option<u32>, CaptureError> {
        let mut head = [0; 12];
        let (fixed, byte_order) = head.split_at_mut(8);
        match self.source.fill(fixed)? {
            0 => return Ok(None),
            8 => {}
            _ => return Err(self.source.cut_off(BLOCK, start)),
        }
        let mut read = 8;
        if fixed.starts_with(&MAGIC) {
            if self.source.fill(byte_order)? < byte_order.len() {
                return Err(self.source.cut_off(BLOCK, start));
            }
            read = 12;
            self.order = match Order::Little.word(byte_order, 0) {
                Some(BYTE_ORDER) => Order::Little,
                Some(swapped) if swapped.swap_bytes() == BYTE_ORDER => Order::Big,
                _ => {
                    let problem = "begins a section, but has no byte-order mark".to_owned();
                    return Err(self.source.damaged(BLOCK, start, problem));
                }
            };
        } else if start == 0 {
            return Err(self.source.damaged(BLOCK, start, "is no section header".to_owned()));
        }
        let kind = self.order.word(&head, 0).unwrap_or_default();
        let length = self.order.word(&head, 4).unwrap_or_default();
        let matters = matches!(kind, INTERFACE | PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        if length < FRAME_LEN.max(read + 4)
            || !length.is_multiple_of(4)
            || matters && length > MAX_BLOCK
        {
            let problem = format!("says that it has {length} bytes");
            return Err(self.source.damaged(BLOCK, start, problem));
        }
        let body = length - read - 4;
        if matters {
            self.source.rest(&mut self.body, body as usize, BLOCK, start)?;
        } else {
            self.source.skip(u64::from(body), BLOCK, start)?;
        }
        let mut tail = [0; 4];
        if self.source.fill(&mut tail)? < tail.len() {
            return Err(self.source.cut_off(BLOCK, start));
        }
        let again = self.order.word(&tail, 0).unwrap_or_default();
        if again != length {
            let problem = format!("has {length} bytes by its beginning, {again} by its end");
            return Err(self.source.damaged(BLOCK, start, problem));
        }
        Ok(Some(kind))
    }

    /// The interface that the body describes.
    fn interface(&self) -> Option<Interface> {
        let (order, body) = (self.order, self.body.as_slice());
        let mut interface = Interface {
            link: LinkType::from_number(order.half(body, 0)?),
            snapshot: order.word(body, 4)?,
            clock: 6,
            offset_s: 0,
        };
        let mut rest = body.get(8..)?;
        while let (Some(code), Some(length)) = (order.half(rest, 0), order.half(rest, 2)) {
            let value = rest.get(4..).and_then(|rest| rest.get(..usize::from(length)));
            match (code, value) {
                (OPTION_END, _) | (_, None) => break,
                (OPTION_CLOCK, Some([clock])) => interface.clock = *clock,
                (OPTION_CLOCK_OFFSET, Some(value)) if value.len() == 8 => {
                    let (a, b) = (order.word(value, 0)?, order.word(value, 4)?);
                    let (low, high) = if order == Order::Little { (a, b) } else { (b, a) };
                    interface.offset_s = (u64::from(high) << 32 | u64::from(low)) as i64;
                }
                _ => {}
            }
            rest = rest.get(4 + usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
        Some(interface)
    }

    /// The packet that the body holds.
    fn place(&self, kind: u32) -> Option<Place> {
        let (order, body) = (self.order, self.body.as_slice());
        let number = match kind {
            ENHANCED_PACKET => order.word(body, 0)? as usize,
            PACKET => usize::from(order.half(body, 0)?),
            _ => 0,
        };
        let interface = *self.interfaces.get(number)?;
        if kind == SIMPLE_PACKET {
            let original = order.word(body, 0)?;
            let snapshot = if interface.snapshot == 0 { u32::MAX } else { interface.snapshot };
            let captured = original.min(snapshot);
            return Some(Place { interface, ticks: None, at: 4, captured, original });
        }
        let ticks = u64::from(order.word(body, 4)?) << 32 | u64::from(order.word(body, 8)?);
        Some(Place {
            interface,
            ticks: Some(ticks),
            at: 20,
            captured: order.word(body, 12)?,
            original: order.word(body, 16)?,
        })
    }

    fn frame(&self, place: &Place, start: u64) -> Result<Frame<'_>, CaptureError> {
        let bytes = self.body.get(place.at..).and_then(|rest| rest.get(..place.captured as usize));
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= MAX_FRAME as usize) else {
            let problem = format!("says that its packet has {} bytes", place.captured);
            return Err(self.source.damaged(BLOCK, start, problem));
        };
        Ok(Frame {
            time_ns: place.ticks.map_or(0, |ticks| place.interface.time_ns(ticks)),
            link: place.interface.link,
            bytes,
            original_len: place.original.max(place.captured),
        })
    }
}

impl Interface {
    /// ns since 1970; what does not fit is the nearest that does.
    fn time_ns(&self, ticks: u64) -> u64 {
        let scaled = i128::from(ticks) * SECOND_NS;
        let exponent = u32::from(self.clock & 0x7f);
        let since = if self.clock & 0x80 != 0 {
            scaled.checked_shr(exponent).unwrap_or(0)
        } else {
            10i128.checked_pow(exponent).map_or(0, |ticks_per_s| scaled / ticks_per_s)
        };
        let time_ns = since + i128::from(self.offset_s) * SECOND_NS;
        u64::try_from(time_ns.max(0)).unwrap_or(u64::MAX)
    }
}
