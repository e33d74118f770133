// What the benchmark of metering lets C compute: loops of few instructions
// (sieve, sum), of many (block), calls of small functions (fib, scan, table),
// short copies (copy). Each export does its work n times.
typedef unsigned int u32;
typedef unsigned char u8;
#define EXPORT(name) __attribute__((export_name(#name))) u32 name(u32 n)
#define APART __attribute__((noinline))
#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

static u8 bytes[65536];

// mix scrambles 64 bytes into a state of eight words, in 64 rounds.
static APART void mix(u32 *h, const u8 *p) {
  u32 w[64];
  for (int i = 0; i < 16; i++) w[i] = (u32)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) w[i] = w[i - 16] + (ROTATE(w[i - 15], 7) ^ w[i - 15] >> 3) + w[i - 7] + (ROTATE(w[i - 2], 17) ^ w[i - 2] >> 10);
  u32 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], k = h[7];
  for (int i = 0; i < 64; i++) {
    u32 s = k + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + (e & f ^ ~e & g) + w[i];
    u32 t = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + (a & b ^ a & c ^ b & c);
    k = g, g = f, f = e, e = d + s, d = c, c = b, b = a, a = s + t;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += k;
}

EXPORT(block) {
  static u32 h[8];
  while (n--)
    for (u32 i = 0; i < sizeof bytes; i += 64) mix(h, bytes + i);
  return h[0];
}

static u32 numbers[20000], state = 1;

static void quicksort(u32 *a, int lo, int hi) {
  while (lo < hi) {
    u32 pivot = a[lo + (hi - lo) / 2];
    int i = lo, j = hi;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        u32 t = a[i];
        a[i++] = a[j], a[j--] = t;
      }
    }
    quicksort(a, lo, j);
    lo = i;
  }
}

EXPORT(sort) {
  while (n--) {
    for (int i = 0; i < 20000; i++) {
      state ^= state << 13, state ^= state >> 17, state ^= state << 5;
      numbers[i] = state;
    }
    quicksort(numbers, 0, 19999);
  }
  return numbers[7];
}

static double left[64][64], right[64][64], product[64][64];

EXPORT(matrix) {
  for (int i = 0; i < 64; i++)
    for (int j = 0; j < 64; j++) left[i][j] = i + j, right[i][j] = i - j;
  while (n--)
    for (int i = 0; i < 64; i++)
      for (int j = 0; j < 64; j++) {
        double sum = 0;
        for (int k = 0; k < 64; k++) sum += left[i][k] * right[k][j];
        product[i][j] = sum;
      }
  return (u32)product[5][6];
}

static APART u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

EXPORT(fib) {
  u32 sum = 0;
  while (n--) sum += fibonacci(16 + (n & 7));
  return sum;
}

static u8 composite[1 << 18];

EXPORT(sieve) {
  u32 primes = 0;
  while (n--) {
    for (u32 i = 0; i < sizeof composite; i++) composite[i] = n & 0;
    for (u32 i = 2; i < sizeof composite; i++)
      if (!composite[i]) {
        primes++;
        for (u32 j = 2 * i; j < sizeof composite; j += i) composite[j] = 1;
      }
  }
  return primes;
}

EXPORT(sum) {
  u32 sum = 0;
  while (n--) {
#pragma clang loop unroll(disable) vectorize(disable)
    for (u32 i = 0; i < sizeof bytes; i++) sum += bytes[i] ^ n;
  }
  return sum;
}

// scan reads nested lists of numbers and words, as a parser of JSON does.
static const u8 *at;
static APART u8 look(void) { return *at; }
static APART void blanks(void) {
  while (look() == ' ') at++;
}
static APART u32 element(void) {
  u32 sum = 0;
  blanks();
  switch (look()) {
    case '[':
      for (at++, blanks(); look() != ']'; blanks()) {
        sum += element();
        blanks();
        if (look() == ',') at++;
      }
      at++;
      return sum;
    case '"':
      for (at++; *at != '"'; at++) sum = sum * 33 + *at;
      at++;
      return sum;
  }
  for (; *at >= '0' && *at <= '9'; at++) sum = sum * 10 + (*at - '0');
  return sum;
}

EXPORT(scan) {
  static const u8 text[] = "[1, 22, [\"server\", 333], \"a longer word\", [[], 4444, [\"x\", \"y\"]], 55555]";
  u32 sum = 0;
  while (n--) {
    at = text;
    sum += element();
  }
  return sum;
}

static APART u32 triple(u32 x) { return x * 3 + 1; }
static APART u32 flip(u32 x) { return x ^ 0x55; }
static APART u32 fold(u32 x) {
  u32 sum = 0;
  for (u32 i = 0; i < (x & 7); i++) sum += x >> i;
  return sum;
}
static u32 (*volatile steps[4])(u32) = {triple, flip, fold, triple};

EXPORT(table) {
  u32 x = 1;
  while (n--) x = steps[x & 3](x) + n;
  return x;
}

EXPORT(copy) {
  u32 sum = 0;
  while (n--) {
    __builtin_memcpy(bytes + (n & 1023), bytes + 2048 + (n & 511), (n & 63) + 1);
    sum += bytes[n & 1023];
  }
  return sum;
}
