//! Goes into the copy of the source that has all changes in it: says which of them is on.
//! Environment: `MUTANT`, its number; `MUTANT_REACHED`, a file that is told of each change that is
//! passed by. With either, the first panic ends the process: nothing else needs to be known.
#![allow(clippy::all, dead_code, unreachable_pub)]

use std::fs::File;
use std::io::Write;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

/// No change has this number.
pub const NONE: u32 = u32::MAX;
const MANY: usize = 1 << 14;

struct Switch {
    on: u32,
    reached: Option<(Mutex<File>, Vec<AtomicBool>)>,
}

static SWITCH: LazyLock<Switch> = LazyLock::new(|| {
    let on = std::env::var("MUTANT").ok();
    let path = std::env::var("MUTANT_REACHED").ok();
    if on.is_some() || path.is_some() {
        std::panic::set_hook(Box::new(|panic| {
            eprintln!("{panic}");
            std::process::exit(101);
        }));
    }
    Switch {
        // Changes are counted from 1.
        on: on.map_or(0, |on| on.parse().unwrap()),
        reached: path.map(|path| {
            let reached = (0..MANY).map(|_| AtomicBool::new(false)).collect();
            (Mutex::new(File::create(path).unwrap()), reached)
        }),
    }
});

pub fn on(number: u32) -> bool {
    let switch = &*SWITCH;
    if let Some((file, reached)) = &switch.reached
        && let Some(reached) = reached.get(number as usize)
        && !reached.swap(true, Ordering::Relaxed)
    {
        writeln!(file.lock().unwrap(), "{number}").unwrap();
    }
    switch.on == number
}

pub fn eq<A: PartialEq<B> + ?Sized, B: ?Sized>([ne]: [u32; 1], a: &A, b: &B) -> bool {
    if on(ne) { a != b } else { a == b }
}

pub fn ne<A: PartialEq<B> + ?Sized, B: ?Sized>([eq]: [u32; 1], a: &A, b: &B) -> bool {
    if on(eq) { a == b } else { a != b }
}

pub fn lt<A: PartialOrd<B> + ?Sized, B: ?Sized>(
    [eq, gt, le]: [u32; 3],
    a: &A,
    b: &B,
) -> bool {
    match (on(eq), on(gt), on(le)) {
        (true, ..) => a == b,
        (_, true, _) => a > b,
        (.., true) => a <= b,
        _ => a < b,
    }
}

pub fn gt<A: PartialOrd<B> + ?Sized, B: ?Sized>(
    [eq, lt, ge]: [u32; 3],
    a: &A,
    b: &B,
) -> bool {
    match (on(eq), on(lt), on(ge)) {
        (true, ..) => a == b,
        (_, true, _) => a < b,
        (.., true) => a >= b,
        _ => a > b,
    }
}

pub fn le<A: PartialOrd<B> + ?Sized, B: ?Sized>([gt]: [u32; 1], a: &A, b: &B) -> bool {
    if on(gt) { a > b } else { a <= b }
}

pub fn ge<A: PartialOrd<B> + ?Sized, B: ?Sized>([lt]: [u32; 1], a: &A, b: &B) -> bool {
    if on(lt) { a < b } else { a >= b }
}

macro_rules! two {
    ($name:ident, $own:ident $method:ident, $first:ident $first_method:ident,
     $second:ident $second_method:ident) => {
        pub fn $name<A, B, O>([first, second]: [u32; 2], a: A, b: B) -> O
        where
            A: $own<B, Output = O> + $first<B, Output = O> + $second<B, Output = O>,
        {
            match (on(first), on(second)) {
                (true, _) => a.$first_method(b),
                (_, true) => a.$second_method(b),
                _ => a.$method(b),
            }
        }
    };
}

two!(add, Add add, Sub sub, Mul mul);
two!(sub, Sub sub, Add add, Div div);
two!(mul, Mul mul, Add add, Div div);
two!(div, Div div, Rem rem, Mul mul);
two!(rem, Rem rem, Div div, Add add);
two!(and, BitAnd bitand, BitOr bitor, BitXor bitxor);
two!(or, BitOr bitor, BitAnd bitand, BitXor bitxor);
two!(xor, BitXor bitxor, BitOr bitor, BitAnd bitand);

pub fn shl<A, B, O>([shr]: [u32; 1], a: A, b: B) -> O
where
    A: Shl<B, Output = O> + Shr<B, Output = O>,
{
    if on(shr) { a >> b } else { a << b }
}

pub fn shr<A, B, O>([shl]: [u32; 1], a: A, b: B) -> O
where
    A: Shl<B, Output = O> + Shr<B, Output = O>,
{
    if on(shl) { a << b } else { a >> b }
}

pub fn not<A: Not<Output = A>>([none]: [u32; 1], a: A) -> A {
    if on(none) { a } else { !a }
}

pub fn neg<A: Neg<Output = A>>([none]: [u32; 1], a: A) -> A {
    if on(none) { a } else { -a }
}
