//! The process's own memory: a supervisor stays for as long as its container, and gives back what it does not need.

use rustix::event::PollFd;

use crate::error::last_errno;

/// Returns free heap pages to the kernel (`malloc_trim(3)`).
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only gives back pages that the allocator holds free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Waits for something to happen on descriptors, without limit, and gives back before it waits everything that can be had
/// again: free heap pages, the stack below the caller, and the pages of the program itself, of which only those come back
/// that are needed to wait. For a process that is idle for most of its life. Returns how many descriptors have something.
pub fn wait_small(set: &mut [PollFd<'_>]) -> rustix::io::Result<usize> {
    trim();
    // The stacks of other threads may lie below this one.
    if crate::process::require_single_thread("madvise").is_ok() {
        release_stack();
    }
    let (from, length) = program();
    // Both calls in a row, through one small function, so that no other page of the program is touched between them.
    // SAFETY: madvise as in `program`; ppoll gets a slice of `pollfd` (`PollFd` is a transparent wrapper of it), its
    // length, and null for no timeout and no signal mask.
    let result = unsafe {
        libc::syscall(libc::SYS_madvise, from, length, libc::MADV_DONTNEED);
        libc::syscall(libc::SYS_ppoll, set.as_mut_ptr(), set.len(), 0_usize, 0_usize, 0_usize)
    };
    usize::try_from(result).map_err(|_| last_errno())
}

unsafe extern "C" {
    /// Where the program's image begins, and where its code ends: symbols that GNU ld and lld make.
    #[link_name = "__executable_start"]
    static IMAGE_START: u8;
    #[link_name = "etext"]
    static CODE_END: u8;
}

/// The part of the program's image that is never written, as address and length: from its start to the end of the code
/// there are constants and code only, mapped privately from the program's file (relocations live behind them). What of it
/// is dropped with `MADV_DONTNEED` is read again, the same.
fn program() -> (usize, usize) {
    let (start, end) = ((&raw const IMAGE_START).addr(), (&raw const CODE_END).addr());
    let page = page_size();
    let (from, to) = (start.next_multiple_of(page), end / page * page);
    (from, to.saturating_sub(from))
}

fn page_size() -> usize {
    // SAFETY: asks for a number; no memory is involved.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(4096)
}

/// How far below the caller's frame the stack is left alone: room for the call itself.
const STACK_LEFT: usize = 16 * 1024;
/// How deep the stack may have been.
const STACK_DEEPEST: usize = 4 << 20;

#[inline(never)]
fn release_stack() {
    let marker = 0_u8;
    let here = (&raw const marker).addr();
    let page = page_size();
    let to = here.saturating_sub(STACK_LEFT) / page * page;
    let from = here.saturating_sub(STACK_DEEPEST) / page * page;
    // SAFETY: stacks grow downwards on every architecture that this builds for, and only this thread uses this one: below
    // its frame nothing is alive. Parts that are not mapped (the stack was never so deep) are passed over with ENOMEM. The
    // caller has one thread, the main one, and nothing else is mapped so near below a main thread's stack: the kernel
    // keeps 128 MiB and more between it and what mmap(2) hands out.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(from), to - from, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn the_program_goes_on_after_it_was_given_back() {
        let (reading, writing) = crate::terminal::pipe().unwrap();
        rustix::io::write(&writing, b"x").unwrap();
        let mut set = [PollFd::new(&reading, PollFlags::IN)];
        assert_eq!(wait_small(&mut set), Ok(1));
        assert!(set[0].revents().contains(PollFlags::IN));
    }
}
