//! The pages of the program itself: a supervisor runs a small part of it for as long as its container lives.

use std::ffi::{c_int, c_void};

/// Gives back the pages of the program's code and constants that are mapped into this process, and those of the stack that
/// are no longer in use. What is needed again comes back from the page cache, a few pages at a time.
///
/// A process that has parsed a command line, unpacked JSON and built a container has most of the program mapped; one that
/// then only waits needs some tenths of a megabyte. Best effort: what the kernel refuses stays mapped.
pub fn forget() {
    let Some(page) = page_size() else { return };
    for (start, length) in read_only_segments() {
        let from = start & !(page - 1);
        let to = (start + length).next_multiple_of(page);
        // SAFETY: the range is a loadable segment of this program that is not writable: a private mapping of its file that
        // nothing has written to (relocations are in the writable segment), so that what is dropped is read again from the
        // file, unchanged, when it is next used.
        unsafe { libc::madvise(from as *mut c_void, to - from, libc::MADV_DONTNEED) };
    }
    forget_stack(page);
}

fn page_size() -> Option<usize> {
    // SAFETY: takes and returns numbers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|page| page.is_power_of_two())
}

/// Address and length of the program's segments that are mapped without the right to write.
fn read_only_segments() -> Vec<(usize, usize)> {
    let mut segments: Vec<(usize, usize)> = Vec::with_capacity(4);
    // SAFETY: the callback is called during this call only, with the pointer to `segments`, which outlives it.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut segments).cast()) };
    segments
}

/// Collects the segments of the first object, which is the program, and asks for no more.
unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _size: libc::size_t, data: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) gives a valid description, and the pointer that `read_only_segments` gave it.
    let (info, segments) = unsafe { (&*info, &mut *data.cast::<Vec<(usize, usize)>>()) };
    if info.dlpi_phdr.is_null() {
        return 1;
    }
    // SAFETY: the program headers are an array of that length, which is part of the program and stays.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let address = info.dlpi_addr.wrapping_add(header.p_vaddr);
            if let (Ok(address), Ok(length)) = (usize::try_from(address), usize::try_from(header.p_memsz)) {
                segments.push((address, length));
            }
        }
    }
    1
}

/// Gives back what earlier, deeper calls left below the stack pointer of the main thread; nothing in any other thread.
fn forget_stack(page: usize) {
    /// What the calls from here on may use, with much to spare.
    const KEPT: usize = 16 << 10;
    let here = 0_u8;
    let here = (&raw const here) as usize;
    let Some((start, end)) = main_stack() else { return };
    let to = here.saturating_sub(KEPT) & !(page - 1);
    if !(start..end).contains(&here) || to <= start {
        return;
    }
    // SAFETY: the range is of this thread's own stack, more than the red zone and the frames of madvise below its pointer:
    // nothing lives there, and what is pushed there later finds fresh pages.
    unsafe { libc::madvise(start as *mut c_void, to - start, libc::MADV_DONTNEED) };
}

/// Where the kernel has put the main thread's stack.
fn main_stack() -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (start, rest) = line.split_once('-')?;
    let end = rest.split(' ').next()?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped_of_files() -> u64 {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss_File:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn segments_hold_this_functions_code_and_a_constant() {
        let code = forget as *const () as usize;
        let constant = "a constant of the program".as_ptr() as usize;
        let segments = read_only_segments();
        for address in [code, constant] {
            assert!(segments.iter().any(|(start, length)| (*start..start + length).contains(&address)), "{address:#x}");
        }
    }

    #[test]
    fn pages_are_given_back_and_the_program_goes_on() {
        // Every page of the program is touched first. Other tests run meanwhile and bring pages back: one success is enough.
        let shrank = (0..20).any(|_| {
            let touched: u64 = read_only_segments()
                .iter()
                .flat_map(|(start, length)| (*start..start + length).step_by(4096))
                // SAFETY: the address is within a segment of this program that is mapped for reading.
                .map(|address| u64::from(unsafe { std::ptr::read_volatile(address as *const u8) }))
                .sum();
            assert!(touched > 0);
            let before = mapped_of_files();
            forget();
            mapped_of_files() < before * 3 / 4
        });
        assert!(shrank);
        assert_eq!("still here".to_uppercase(), "STILL HERE");
    }

    #[test]
    fn the_stack_is_found_and_this_thread_is_not_on_it() {
        let (start, end) = main_stack().unwrap();
        assert!(start < end);
        let here = 0_u8;
        assert!(!(start..end).contains(&((&raw const here) as usize)), "tests run in threads of their own");
    }
}
