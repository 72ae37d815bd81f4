//! Seeded mutations of bytes: what a bad line, a bad program or a bad mind makes of good bytes.

use crate::dice::Dice;

/// Numbers at which something changes.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x0001_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// One of the seeds with one to eight changes.
pub(crate) fn mutation(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.index(seeds.len())].clone();
    for _ in 0..=dice.below(8) {
        change(&mut bytes, seeds, dice);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    if bytes.is_empty() {
        return bytes.push(dice.roll().to_le_bytes()[0]);
    }
    let at = dice.index(bytes.len());
    let len = (dice.index(32) + 1).min(bytes.len() - at);
    let number = EDGES[dice.index(EDGES.len())];
    let width = [1, 2, 4, 8][dice.index(4)];
    match dice.below(9) {
        0 | 1 => bytes[at] ^= 1 << dice.below(8),
        2 => bytes[at] = dice.roll().to_le_bytes()[0],
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..at + len)),
        5 => {
            let again = bytes[at..at + len].to_vec();
            let to = dice.index(bytes.len());
            bytes.splice(to..to, again);
        }
        6 => {
            let other = &seeds[dice.index(seeds.len())];
            let from = dice.index(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        // A length or a number, whichever order its bytes have.
        7 => put(bytes, at, &number.to_le_bytes()[..width]),
        _ => put(bytes, at, &number.to_be_bytes()[8 - width..]),
    }
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes
        .iter_mut()
        .skip(at)
        .zip(new)
        .for_each(|(byte, new)| *byte = *new);
}
