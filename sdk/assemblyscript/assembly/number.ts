// Decimal numbers as f64, exactly: the parseFloat of the standard library is off for many.

/** A large whole number: limbs of 32 bits, the lowest first. */
class Big {
  limb: StaticArray<u32> = new StaticArray<u32>(192);
  n: i32 = 0;

  multiply(by: u32, add: u32): void {
    let carry: u64 = add;
    for (let i = 0; i < this.n; i++) {
      carry += <u64>this.limb[i] * by;
      this.limb[i] = <u32>carry;
      carry >>= 32;
    }
    if (carry) this.limb[this.n++] = <u32>carry;
  }

  /** Gives the rest. */
  divide(by: u32): u32 {
    let rest: u64 = 0;
    for (let i = this.n - 1; i >= 0; i--) {
      rest = rest << 32 | this.limb[i];
      this.limb[i] = <u32>(rest / by);
      rest %= by;
    }
    while (this.n && !this.limb[this.n - 1]) this.n--;
    return <u32>rest;
  }

  shift(bits: i32): void {
    const limbs = bits / 32;
    for (let i = this.n - 1; i >= 0; i--) this.limb[i + limbs] = this.limb[i];
    for (let i = 0; i < limbs; i++) this.limb[i] = 0;
    this.n += limbs;
    for (bits %= 32; bits; bits--) this.multiply(2, 0);
  }

  /** The f64 nearest to this * 2^exp, ties to even; more says that this is a little too small. */
  toF64(exp: i32, more: bool): f64 {
    if (!this.n) return 0;
    const length = this.n * 32 - clz<u32>(this.limb[this.n - 1]);
    let keep = 53;
    if (length + exp < -1021) keep += length + exp + 1021; // a small f64 has fewer bits
    if (keep < 0) return 0;
    let m: u64 = 0, half = false, rest = more;
    for (let i = 1; i <= length; i++) {
      const bit = this.limb[(length - i) >> 5] >> ((length - i) & 31) & 1;
      if (i <= keep) m = m << 1 | bit;
      else if (i == keep + 1) half = bit != 0;
      else if (bit) {
        rest = true;
        break;
      }
    }
    if (length < keep) m <<= keep - length;
    if (half && (rest || (m & 1) != 0)) m++;
    let e = length - keep + exp;
    if (m >> 53) {
      m >>= 1;
      e++;
    }
    if (!(m >> 52)) return reinterpret<f64>(m); // a small one, e is -1074
    return e > 971 ? f64.MAX_VALUE * 2 : reinterpret<f64>(<u64>(e + 1075) << 52 | (m & 0xfffffffffffff));
  }
}

/** Reads the JSON number that stands there, which was checked. Infinite when it is too large. */
export function readF64(p: usize, end: usize): f64 {
  const minus = load<u8>(p) == 0x2d;
  let point = false, more = false, digits = 0, exp: i64 = 0;
  const b = new Big();
  for (p += <usize>minus; p < end; p++) {
    const c = load<u8>(p);
    if (c == 0x2e) {
      point = true;
      continue;
    }
    if (c < 0x30 || c > 0x39) break;
    if (digits >= 800) { // more tell nothing but that there are more
      more = more || c != 0x30;
      if (!point) exp++;
      continue;
    }
    if (digits || c != 0x30) digits++;
    b.multiply(10, c - 0x30);
    if (point) exp--;
  }
  if (p < end) { // e
    p++;
    const less = load<u8>(p) == 0x2d;
    if (less || load<u8>(p) == 0x2b) p++;
    let x: i64 = 0;
    for (; p < end; p++) if (x < 100000000) x = x * 10 + (load<u8>(p) - 0x30);
    exp += less ? -x : x;
  }
  let f: f64 = 0;
  if (digits && exp + digits > 310) {
    f = f64.MAX_VALUE * 2;
  } else if (digits && exp + digits > -330) {
    let shift = 0;
    for (; exp > 0; exp--) b.multiply(10, 0);
    if (exp < 0) {
      shift = max(<i32>(-exp * 10 / 3) + 136 - b.n * 32, 64); // more bits than the division takes away
      b.shift(shift);
      for (; exp <= -9; exp += 9) more = b.divide(1000000000) != 0 || more;
      for (; exp < 0; exp++) more = b.divide(10) != 0 || more;
    }
    f = b.toF64(-shift, more);
  }
  return minus ? -f : f;
}
