//! What the benchmark of metering lets Rust compute. Each export does its work
//! n times.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

#[no_mangle]
pub extern "C" fn tree(n: u32) -> u32 {
    let mut sum = 0u32;
    for k in 0..n {
        let map: BTreeMap<u32, u32> = (0..1000).map(|i: u32| (i.wrapping_mul(2654435761).wrapping_add(k), i)).collect();
        sum = map.iter().fold(sum, |s, (a, b)| s.wrapping_add(a ^ b));
    }
    sum
}

#[no_mangle]
pub extern "C" fn strings(n: u32) -> u32 {
    let mut sum = 0u32;
    for k in 0..n {
        let mut names: Vec<String> = (0..300u32).map(|i| format!("server-{}-{}", i * 7919 % 1000, k)).collect();
        names.sort();
        sum = names.iter().fold(sum, |s, name| s.wrapping_add(name.bytes().map(u32::from).sum()));
    }
    sum
}

#[no_mangle]
pub extern "C" fn sort(n: u32) -> u32 {
    let mut x = 1u32;
    let mut sum = 0;
    for _ in 0..n {
        let mut list: Vec<u32> = (0..10_000)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                x
            })
            .collect();
        list.sort_unstable();
        sum ^= list[77];
    }
    sum
}

#[no_mangle]
pub extern "C" fn hash(n: u32) -> u32 {
    let mut sum = 0u32;
    for k in 0..n {
        let mut map: HashMap<u32, u32, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        for i in 0..1000u32 {
            *map.entry(i * 31 % 997).or_insert(k) += i;
        }
        sum = map.values().fold(sum, |s, v| s.wrapping_add(*v));
    }
    sum
}
