package main

import "time"

// flushWait bounds the end of traces.
const flushWait = 5 * time.Second
