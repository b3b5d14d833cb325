//! MPEG transport stream (ISO/IEC 13818-1) of one video track whose pictures are filler: the right shape, without an encoder.
//!
//! A segment is a function of its number, so any two makers agree on every byte. Counters and clocks go on from segment to segment.

/// The length of a packet, in bytes.
pub(super) const PACKET_BYTES: usize = 188;
/// The length of a segment, in seconds.
pub(super) const SEGMENT_SECONDS: u64 = 2;

/// Pictures a second.
const PICTURES: u64 = 25;
/// Ticks of the 90 kHz clock between two pictures.
const PICTURE_TICKS: u64 = 90_000 / PICTURES;
/// Packets that one picture takes.
const PICTURE_PACKETS: usize = 10;
/// How far presentation lags behind the clock reference, in ticks.
const LAG_TICKS: u64 = 90_000 / 2;
/// Clocks count 33 bits.
const CLOCK: u64 = 1 << 33;

const PID_PAT: u16 = 0;
const PID_PMT: u16 = 0x1000;
const PID_VIDEO: u16 = 0x100;

/// Packets of a picture that hold an adaptation field with the clock: its length, flags and six bytes.
const PCR_FIELD: usize = 8;
const HEAD: usize = 4;

/// The bytes of segment `number`.
pub(super) fn segment(number: u64) -> Vec<u8> {
    let mut stream = Vec::new();
    table(&mut stream, PID_PAT, number, &pat());
    table(&mut stream, PID_PMT, number, &pmt());
    let pictures = SEGMENT_SECONDS * PICTURES;
    for picture in number * pictures..(number + 1) * pictures {
        video(&mut stream, picture);
    }
    stream
}

/// A packet that is one whole table.
fn table(stream: &mut Vec<u8>, pid: u16, counter: u64, section: &[u8]) {
    let start = stream.len();
    head(stream, pid, true, false, counter);
    stream.push(0);
    stream.extend(section);
    stream.resize(start + PACKET_BYTES, 0xFF);
}

fn head(stream: &mut Vec<u8>, pid: u16, starts: bool, adapted: bool, counter: u64) {
    let [high, low] = pid.to_be_bytes();
    let count = counter.to_le_bytes()[0] & 0x0F;
    stream.extend([0x47, high | if starts { 0x40 } else { 0 }, low, 0x10 | if adapted { 0x20 } else { 0 } | count]);
}

/// One picture: a PES packet over a fixed number of transport packets, the first with the clock.
fn video(stream: &mut Vec<u8>, picture: u64) {
    let ticks = picture.wrapping_mul(PICTURE_TICKS);
    let room = PICTURE_PACKETS * (PACKET_BYTES - HEAD) - PCR_FIELD;
    let mut pes = vec![0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5];
    pes.extend(timestamp((ticks + LAG_TICKS) % CLOCK));
    // An access unit delimiter, then filler data (ITU-T H.264 section 7.3.2) to the end.
    pes.extend([0, 0, 0, 1, 0x09, 0xF0, 0, 0, 0, 1, 0x0C]);
    pes.resize(room - 1, 0xFF);
    pes.push(0x80);

    let counter = picture.wrapping_mul(PICTURE_PACKETS as u64);
    let mut rest = pes.as_slice();
    for index in 0..PICTURE_PACKETS {
        let first = index == 0;
        head(stream, PID_VIDEO, first, first, counter.wrapping_add(index as u64));
        let mut room = PACKET_BYTES - HEAD;
        if first {
            stream.extend([7, 0x50]);
            stream.extend(clock(ticks % CLOCK));
            room -= PCR_FIELD;
        }
        let (now, later) = rest.split_at(room);
        stream.extend(now);
        rest = later;
    }
}

/// A program clock reference: 33 bits of 90 kHz, six reserved ones, nine bits of 27 MHz that are zero.
fn clock(ticks: u64) -> [u8; 6] {
    let bits = ticks << 15 | 0x3F << 9;
    let [_, _, bytes @ ..] = bits.to_be_bytes();
    bytes
}

/// A presentation timestamp in five bytes with its marker bits.
fn timestamp(ticks: u64) -> [u8; 5] {
    let byte = |shift: u32| (ticks >> shift).to_le_bytes()[0];
    [0x21 | (byte(29) & 0x0E), byte(22), byte(14) | 1, byte(7), byte(0) << 1 | 1]
}

/// The program association table: program 1 is described on [`PID_PMT`].
fn pat() -> Vec<u8> {
    let [high, low] = PID_PMT.to_be_bytes();
    section(0x00, &[0, 1, 0xE0 | high, low])
}

/// The program map table: one H.264 track, which carries the clock.
fn pmt() -> Vec<u8> {
    let [high, low] = PID_VIDEO.to_be_bytes();
    section(0x02, &[0xE0 | high, low, 0xF0, 0, 0x1B, 0xE0 | high, low, 0xF0, 0])
}

/// A section of table `id` with its length and checksum.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(5 + content.len() + 4).unwrap_or(u8::MAX);
    let mut section = vec![id, 0xB0, length, 0, 1, 0xC1, 0, 0];
    section.extend(content);
    section.extend(crc32(&section).to_be_bytes());
    section
}

/// The checksum of ISO/IEC 13818-1 annex A.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0x0376_E6E7);
    }

    #[test]
    fn two_segments_are_one_stream() {
        let stream: Vec<u8> = [segment(7), segment(8)].concat();
        assert_eq!(stream.len() % PACKET_BYTES, 0);
        let mut counters: HashMap<u16, u8> = HashMap::new();
        for packet in stream.chunks(PACKET_BYTES) {
            assert_eq!(packet[0], 0x47);
            let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
            let count = packet[3] & 0x0F;
            if let Some(before) = counters.insert(pid, count) {
                assert_eq!(count, (before + 1) & 0x0F, "pid {pid:#x}");
            }
        }
        let mut pids: Vec<u16> = counters.into_keys().collect();
        pids.sort_unstable();
        assert_eq!(pids, [PID_PAT, PID_VIDEO, PID_PMT]);
    }

    #[test]
    fn clocks_advance_by_a_segment() {
        let clock_of = |number| {
            let bytes = segment(number);
            let at = 2 * PACKET_BYTES + 6;
            bytes[at..at + 4].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)) << 1 | u64::from(bytes[at + 4] >> 7)
        };
        assert_eq!(clock_of(1) - clock_of(0), SEGMENT_SECONDS * 90_000);
        assert_eq!(clock_of(0), 0);
    }

    #[test]
    fn a_timestamp_has_its_markers() {
        assert_eq!(timestamp(0), [0x21, 0, 1, 0, 1]);
        assert_eq!(timestamp(CLOCK - 1), [0x2F, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
}
