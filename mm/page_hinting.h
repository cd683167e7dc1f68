/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page hinting, the allocator side: what the buddy allocator calls, and what
 * the files mm/page_hinting*.c share. See mm/page_hinting.c for the design.
 */
#ifndef _MM_PAGE_HINTING_H
#define _MM_PAGE_HINTING_H

#include <linux/irq_work.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/page_hinting.h>
#include <linux/scatterlist.h>
#include <linux/smpboot.h>
#include <linux/timer.h>
#include <linux/vmstat.h>
#include <asm/local.h>

#ifdef CONFIG_PAGE_HINTING

DECLARE_STATIC_KEY_FALSE(page_hinting_capturing);
extern unsigned int page_hinting_order;

void __page_hinting_capture(struct page *page, unsigned int order);
void __page_hinting_idle(void);
void __page_hinting_recheck(struct page *page, unsigned int order);
void __page_hinting_use(struct page *page, unsigned int used);

/**
 * page_hinting_capture - note that a block was freed
 * @page: first page of the block, on its free list by now
 * @order: order of the block after merging
 *
 * Called at the end of __free_one_page() with zone->lock held, in any context
 * up to NMI.
 */
static inline void page_hinting_capture(struct page *page, unsigned int order)
{
	if (static_branch_unlikely(&page_hinting_capturing) &&
	    order >= READ_ONCE(page_hinting_order))
		__page_hinting_capture(page, order);
}

/**
 * page_hinting_idle - note that this CPU goes idle
 *
 * What it freed may stand in its page lists, where it is neither free for others
 * nor seen by page_hinting_capture(). Called with interrupts off.
 */
static inline void page_hinting_idle(void)
{
	if (static_branch_unlikely(&page_hinting_capturing))
		__page_hinting_idle();
}

/**
 * page_hinting_recheck - look again at a range that may hold free blocks
 * @page: first page of the range
 * @order: order of the range; its pages may be in use
 *
 * For the one path that brings blocks back to the free lists without freeing
 * them: the end of pageblock isolation. Called with zone->lock held.
 */
static inline void page_hinting_recheck(struct page *page, unsigned int order)
{
	if (static_branch_unlikely(&page_hinting_capturing))
		__page_hinting_recheck(page, order);
}

/**
 * page_hinting_use - note that a free block comes into use
 * @page: first page of the block, which may be marked
 * @order: order of the block
 * @used: order of what is used of it, the rest stays free
 *
 * Called with zone->lock held.
 */
static inline void page_hinting_use(struct page *page, unsigned int order,
				    unsigned int used)
{
	/* Behind the static branch of page reporting, which mostly means this. */
	if (static_branch_likely(&page_hinting_capturing) &&
	    order >= READ_ONCE(page_hinting_order))
		__page_hinting_use(page, used);
}

/*
 * Smaller orders are served from the per-CPU page lists: a hint of such a
 * block would be stale by the time it is sent.
 */
#define HINT_MIN_ORDER		(PAGE_ALLOC_COSTLY_ORDER + 1)

/* Batches that may be with the host at the same time. */
#define HINT_NR_BATCHES		8

/* Blocks or array entries looked at in one hold of zone->lock. */
#define HINT_SLICE		32

/* A zone never has more than this share of its pages with the host. */
#define HINT_ZONE_SHARE		32

/* Where free page reporting begins to look: no zone learns a longer age. */
#define HINT_LONGEST		(2 * HZ)

/* Doublings of min_age_ms that are told apart: from a tick to two seconds. */
#define HINT_AGES		11

/**
 * enum hint_verdict - what became of a block that was looked at
 * @HINT_STALE: It is not free, or in an isolated pageblock.
 * @HINT_DUPLICATE: The host knows it, or a newer capture stands for it.
 * @HINT_TAKEN: It was isolated and is part of the batch.
 * @HINT_YOUNG: It has not been free for long enough yet.
 * @HINT_LOW: Its zone, or an OOM situation, cannot spare it now, or newer
 *	captures wait behind one of a zone that is capped.
 * @HINT_ZONE_CAPPED: As much of its zone as is allowed is with the host already.
 * @HINT_FULL: The batch has no room for it, or is of another zone.
 * @HINT_CAPPED: As much as is allowed is with the host already.
 *
 * In rising order of what a range of several blocks is judged by. From
 * HINT_ZONE_CAPPED on it makes no sense to look at more of the zone, from
 * HINT_FULL on at more of any.
 */
enum hint_verdict {
	HINT_STALE,
	HINT_DUPLICATE,
	HINT_TAKEN,
	HINT_YOUNG,
	HINT_LOW,
	HINT_ZONE_CAPPED,
	HINT_FULL,
	HINT_CAPPED,
};

/**
 * struct hint_batch - blocks on their way to the host and back
 * @sgl: The blocks. First, so that its address names the batch.
 * @nents: Blocks in @sgl.
 * @zone: The zone that all of them are from.
 * @since: When it was got, in jiffies.
 *
 * Owned by the thread that got it until report() succeeds, then by the device
 * until page_hinting_done().
 */
struct hint_batch {
	struct scatterlist sgl[PAGE_HINTING_BATCH];
	unsigned int nents;
	struct zone *zone;
	unsigned long since;
};

/* An array entry is a pfn and, below it, the order of the block. */
#define HINT_ORDER_BITS		4
#define HINT_ORDER_MASK		((1UL << HINT_ORDER_BITS) - 1)
static_assert(MAX_PAGE_ORDER <= HINT_ORDER_MASK);

/*
 * Behind an array stand some of its entries once more, by hash, so that a block
 * that comes and goes is found to be in it. As many as half a GiB has huge pages;
 * 0, which no entry is, where there is none.
 */
#define HINT_RECENT_BITS	8
#define HINT_RECENT_BYTES	(sizeof(long) << HINT_RECENT_BITS)

/* hint_cpu.state: which array is being filled, and how many entries it has. */
#define HINT_ARRAY_1		BIT(30)
#define HINT_COUNT_MASK		(HINT_ARRAY_1 - 1)

/**
 * struct hint_cpu - one CPU's captures and the thread that works on them
 * @state: HINT_ARRAY_1 and a count, changed by the hook with interrupts off or
 *	preemption disabled, and by NMIs that nest in it.
 * @capacity: Entries an array has room for; 0 while there are none.
 * @slots: The two arrays, and behind each those of its entries that came last,
 *	by hash.
 * @undrained: The CPU was active since its page lists were last drained.
 * @first: Runs soon after the first capture into an empty array, the one that
 *	half fills it, and when the CPU goes idle after it was active.
 * @timer: Wakes the thread when a capture has aged, or the CPU may be quiet.
 * @cpu: Whose this is.
 * @kick: The thread has something to look at.
 * @taken: The array the thread works on.
 * @taken_at: When it became so, in jiffies.
 * @nr: Entries in @taken.
 * @pos: The next to look at.
 * @age: How long blocks had to be free, in jiffies, when the thread last looked
 *	at some that have to wait; 0 where none have. Their timer does for a new
 *	capture, too.
 * @activity: Pages that the CPU had allocated and freed when it was last found
 *	active.
 * @active_at: When that was, in jiffies.
 */
struct hint_cpu {
	local_t state;
	unsigned int capacity;
	unsigned long *slots[2];
	bool undrained;
	struct irq_work first;
	struct timer_list timer;
	unsigned int cpu;

	bool kick;

	unsigned long *taken;
	unsigned long taken_at;
	unsigned int nr;
	unsigned int pos;

	unsigned long age;
	unsigned long activity;
	unsigned long active_at;
};

DECLARE_PER_CPU(struct hint_cpu, hint_cpu);
DECLARE_PER_CPU(struct task_struct *, hint_task);

static inline unsigned long hint_nr_captured(struct hint_cpu *c)
{
	return local_read(&c->state) & HINT_COUNT_MASK;
}

/**
 * enum hint_zone_flags - bits of hint_zone.flags
 * @HINT_SWEEP_WANTED: Some block of the zone may stand in no array. Set in any
 *	context, cleared by the sweep before its first slice.
 * @HINT_SWEEP_ALL: The sweep looks at marked blocks too, for a new device. Set
 *	before HINT_SWEEP_WANTED and cleared after it.
 * @HINT_SWEEP_BUSY: Bit lock of the fields below: one thread sweeps a zone.
 */
enum hint_zone_flags {
	HINT_SWEEP_WANTED,
	HINT_SWEEP_ALL,
	HINT_SWEEP_BUSY,
};

/**
 * struct hint_count - how often something has happened of late
 * @n: How often, halved every so often.
 * @since: Since when @n stands, in jiffies.
 */
struct hint_count {
	unsigned int n;
	unsigned long since;
};

/**
 * struct hint_zone - what page hinting knows about a zone
 * @in_flight: Pages isolated and not yet back. Under zone->lock.
 * @used: Blocks that came into use when they had been free for min_age_ms << i
 *	and less than twice that. Under zone->lock.
 * @hinted: Blocks that were hinted. Under zone->lock.
 * @hinted_since: Since when the last of them was free. Under zone->lock.
 * @age: How long blocks had to be free when that was last worked out, in
 *	jiffies. Written under zone->lock.
 * @flags: See enum hint_zone_flags. Atomic bit operations.
 * @cursor: Where the sweep goes on; 0 when none is under way.
 * @all: This sweep looks at marked blocks too.
 * @started: When the sweep began, in jiffies.
 * @retry: The sweep met blocks that were too young.
 * @low: The sweep pauses because the zone can spare nothing.
 * @paused_at: When the last sweep ended or paused, in jiffies.
 * @waiter: The CPU whose timer ends the pause, -1 while nobody asked. Given up
 *	for a CPU that is dead, too.
 */
struct hint_zone {
	unsigned long in_flight;
	struct hint_count used[HINT_AGES];
	struct hint_count hinted;
	unsigned long hinted_since;
	unsigned long age;
	unsigned long flags;
	unsigned long cursor;
	bool all;
	unsigned long started;
	bool retry;
	bool low;
	unsigned long paused_at;
	int waiter;
};

/**
 * struct hint_look - one look at blocks, and what it has learnt
 * @batch: Where blocks go that are ripe.
 * @min_age: How long a block has to be free to be so, in jiffies.
 * @since: A block freed after this, in jiffies, has a newer capture.
 * @all: Take marked blocks too.
 * @kept: Array entries that have to wait, moved to the front of the array.
 * @capped: Something has to be looked at again when a batch has come back.
 * @waits: The array waits for that, too, until what is captured may be ripe.
 * @again: Something has to be looked at again, at @next.
 * @next: The earliest time for that, in jiffies.
 */
struct hint_look {
	struct hint_batch *batch;
	unsigned long min_age;
	unsigned long since;
	bool all;
	unsigned int kept;
	bool capped;
	bool waits;
	bool again;
	unsigned long next;
};

extern unsigned int hint_min_age_ms;
extern unsigned long hint_max_inflight_pages;
extern unsigned int hint_capture_entries;
extern bool hint_wanted;

extern atomic_long_t hint_inflight;
extern atomic_t hint_returns;
extern struct hint_zone *hint_zones;
extern struct smp_hotplug_thread hint_threads;
extern bool hint_running;
extern bool hint_dev_failed;

/* mm/page_hinting.c: captures and threads */
void hint_kick(unsigned int cpu);
void __init hint_cpus_init(void);
int hint_cpu_prepare(unsigned int cpu);
int hint_cpu_dead(unsigned int cpu);

/* mm/page_hinting_age.c: how long blocks have to be free */
void hint_know(struct page *head, unsigned int order);
bool hint_is_known(struct page *head, unsigned int order);
void hint_start_noting(void);
void hint_stop_noting(void);
void hint_forget_all(void);
void hint_pass_locks(void);
void hint_stamp(struct page *head, unsigned int order);
void hint_set_min_age(unsigned int ms);
unsigned long hint_age(struct page *head, unsigned int order, unsigned long now);
unsigned long hint_min_age(void);
unsigned long hint_zone_age(struct hint_zone *hz);
unsigned long hint_ripe_age(struct hint_zone *hz);
void hint_note_hint(struct hint_zone *hz, unsigned int order,
		    unsigned long since);
void hint_note_use(struct hint_zone *hz, unsigned long since, unsigned int known);

/* mm/page_hinting_block.c: what is done under zone->lock */
enum hint_verdict hint_range(struct hint_look *look, struct zone *zone,
			     unsigned long pfn, unsigned int order);
enum hint_verdict hint_sweep_slice(struct hint_look *look, struct zone *zone);
void hint_return(struct hint_batch *batch, int err);
void hint_sweep_forget(unsigned int cpu);
void hint_want_sweep(struct zone *zone, bool all);
void hint_mark_range(unsigned long pfn, unsigned long nr_pages);
void hint_hold_off(void);

/* mm/page_hinting_dev.c: batches, the device, start and stop */
struct hint_zone *hint_zone_of(struct zone *zone);
struct hint_batch *hint_get_batch(void);
void hint_put_batch(struct hint_batch *batch, bool returned);
void hint_wait_for_batch(unsigned int cpu);
void hint_wait_for_room(unsigned int cpu, int returns);
void hint_submit(struct hint_batch *batch);
int hint_set_wanted(bool wanted);
void hint_sweep_all(bool all);
void hint_set_order(unsigned int order);
void hint_look_all(void);
void hint_set_max_inflight(unsigned long pages);
int hint_set_capture_entries(unsigned int entries);

#else /* CONFIG_PAGE_HINTING */

static inline void page_hinting_capture(struct page *page, unsigned int order)
{
}

static inline void page_hinting_idle(void)
{
}

static inline void page_hinting_recheck(struct page *page, unsigned int order)
{
}

static inline void page_hinting_use(struct page *page, unsigned int order,
				    unsigned int used)
{
}

#endif /* CONFIG_PAGE_HINTING */
#endif /* _MM_PAGE_HINTING_H */
