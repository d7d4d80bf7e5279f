//! The process's own memory: a supervisor stays for as long as its container, and gives back what it does not need.

/// Returns free heap pages to the kernel (`malloc_trim(3)`).
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only gives back pages that the allocator holds free.
    unsafe {
        libc::malloc_trim(0);
    }
}
