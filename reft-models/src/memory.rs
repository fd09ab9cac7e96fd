//! Settings of the C library's allocator.

/// Keeps freed memory for the next tensor. By default glibc gives blocks of megabytes back to the system at once, and
/// the next pass pays for every page of them again (about a tenth of a training step). Only the largest blocks, logits above
/// all, whose sizes differ from pass to pass, are given back: kept, they leave holes, and memory grows with every update.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEPT: libc::c_int = 32 << 20;
        const LARGEST: libc::c_int = 1 << 30;
        // Safe: sets two numbers of the allocator, before any thread is started.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGEST);
        }
    }
}
