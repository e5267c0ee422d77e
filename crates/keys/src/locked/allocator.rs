//! A heap that forgets.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but every block is zeroed before it is freed, and a block that grows moves and
/// is zeroed where it was. For programs that handle secrets with libraries that do not wipe what they
/// free (polynomials of FROST, big numbers, JSON):
///
/// ```
/// #[global_allocator]
/// static HEAP: keys::locked::WipingAllocator = keys::locked::WipingAllocator;
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WipingAllocator;

// SAFETY: all blocks are those of `System`, with the layouts that the caller gave; the provided `realloc`
// and `alloc_zeroed` are made of these two, so that a block that moves is wiped by `dealloc`.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is live, has this layout, and nobody reads it any more; as above.
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}
