// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: tell the host which memory the guest has freed.
 *
 * This is neither VIRTIO_BALLOON_F_FREE_PAGE_HINT (one-shot, for migration) nor
 * free page reporting (mm/page_reporting.c, a periodic scan of the free lists).
 *
 * The way of a page: __free_one_page() has merged a block to page_hinting_order
 * or above -> it is stamped and its pfn goes into this CPU's array -> khintd/N
 * looks at it when it has been free for long enough -> if it still is, it is
 * isolated -> it goes to the host with a batch of others -> the host discards
 * it and answers -> it goes back to the tail of its free list, marked -> the
 * mark goes when the block leaves the list.
 *
 * Who runs where. The hook runs in whatever context frees, up to NMI, under
 * zone->lock. It wakes nobody: the first capture into an empty array queues an
 * irq_work, which arms a timer, which wakes the thread when the capture is old
 * enough; one that half fills it has the thread woken at once. The same
 * happens when a CPU goes idle after it was active, so that its page lists are
 * drained. Without either a CPU has no timer, and its thread never runs.
 * Blocks are returned where the device answers, usually its interrupt, so no
 * thread has to wait for a host.
 *
 * The arrays. Each CPU has two: one is filled, the other is what the thread
 * works on, and they change places when the thread's is used up. A capture that
 * finds the array full is not lost: it asks for a sweep of its zone. One that is
 * in the array that is being filled, as the hash behind it shows, need not be added:
 * that array is looked at later, and then tells by the stamp since when it is free.
 *
 *   word                    written by                  protected by
 *   hint_cpu.state, slots   hook on this CPU; thread    this CPU, local_t: an NMI
 *                           swaps, clears the hash      may nest in a capture
 *   hint_cpu.taken .. pos   khintd/N of this CPU        only it; hotplug when the
 *                                                       CPU is dead
 *   hint_cpu.kick           irq_work, timer, answers    see hint_kick()
 *   hint_cpu.age ..,        khintd/N, idle entry        this CPU
 *   undrained
 *   page->free_since        hooks, hint_return(),       zone->lock
 *                           hint_mark_range()
 *   mark of a free block    hint_return(), allocator    zone->lock
 *   hint_zone.in_flight     hint_range(), hint_return() zone->lock
 *   hint_zone.used .. age   hooks, looks, sysfs         zone->lock
 *   hint_noting, _epoch     start, stop, order          hint_mutex; see hint_noting
 *   hint_zone.flags         anyone                      atomic bit operations
 *   hint_zone.cursor ..     the thread that sweeps      HINT_SWEEP_BUSY
 *   hint_batchless,         threads, who puts a batch   see hint_put_batch()
 *   hint_roomless, _returns
 *   hint_dev                registration                hint_mutex; the threads
 *                                                       live while it is set
 *   hint_running            registration, tunables      hint_mutex; see hint_kick()
 *
 * Lock order: hint_mutex -> cpu_hotplug_lock; zone->lock is innermost and
 * report() is called with none held.
 */
#include <linux/hash.h>
#include <linux/irq_work.h>
#include <linux/memory_hotplug.h>
#include <linux/slab.h>
#include <linux/smpboot.h>

#include "internal.h"
#include "page_hinting.h"

/*
 * A CPU that allocates and frees no more pages than that in min_age_ms is quiet:
 * emptying its page lists costs it no more than twice what it does.
 */
#define HINT_QUIET_PAGES	512

DEFINE_PER_CPU(struct hint_cpu, hint_cpu);
DEFINE_PER_CPU(struct task_struct *, hint_task);

/* The hook captures; on while the threads run. */
DEFINE_STATIC_KEY_FALSE(page_hinting_capturing);

/* Smallest order that is captured. */
unsigned int page_hinting_order __read_mostly;

/* Where a look at a captured range is counted. */
static const enum vm_event_item hint_events[] = {
	[HINT_STALE]		= PAGE_HINT_STALE,
	[HINT_DUPLICATE]	= PAGE_HINT_DUPLICATE,
	[HINT_TAKEN]		= PAGE_HINT_AGED,
	[HINT_LOW]		= PAGE_HINT_DUPLICATE,
};

/* Add a range to this CPU's array. Any context, preemption disabled. */
static void hint_push(struct page *page, unsigned int order)
{
	unsigned long entry = page_to_pfn(page) << HINT_ORDER_BITS | order, n;
	struct hint_cpu *c = this_cpu_ptr(&hint_cpu);
	unsigned long *array, *recent;

	/* A block that comes and goes waits in the array already. */
	array = c->slots[!!(local_read(&c->state) & HINT_ARRAY_1)];
	recent = &array[c->capacity + hash_long(entry, HINT_RECENT_BITS)];
	if (c->capacity && *recent == entry)
		return;

	n = local_inc_return(&c->state) & HINT_COUNT_MASK;
	if (unlikely(n > c->capacity)) {
		local_dec(&c->state);
		hint_want_sweep(page_zone(page), false);
		__count_vm_event(PAGE_HINT_OVERFLOWED);
		return;
	}

	array[n - 1] = entry;
	*recent = entry;

	/* Half full: time to swap the arrays, if the thread can. */
	if (n == 1 || n == c->capacity / 2)
		irq_work_queue(&c->first);
}

void __page_hinting_capture(struct page *page, unsigned int order)
{
	hint_stamp(page, order);
	preempt_disable_nested();
	hint_push(page, order);
	preempt_enable_nested();
}

void __page_hinting_recheck(struct page *page, unsigned int order)
{
	preempt_disable_nested();
	hint_push(page, order);
	preempt_enable_nested();
}

/* Pages that this CPU has allocated and freed. */
static unsigned long hint_activity(void)
{
	unsigned long n = raw_cpu_read(vm_event_states.event[PGFREE]);
	int i;

	for (i = 0; i < MAX_NR_ZONES; i++)
		n += raw_cpu_read(vm_event_states.event[PGALLOC_NORMAL -
							ZONE_NORMAL + i]);
	return n;
}

/* Was the CPU active since that was last noted? */
static bool hint_note_activity(struct hint_cpu *c)
{
	unsigned long activity = hint_activity();

	if (activity - c->activity <= HINT_QUIET_PAGES)
		return false;
	c->activity = activity;
	c->active_at = jiffies;
	c->undrained = true;
	return true;
}

void __page_hinting_idle(void)
{
	struct hint_cpu *c = this_cpu_ptr(&hint_cpu);

	/* With nohz_full the tick may stop for a task, which is left alone. */
	if (is_idle_task(current) && !c->undrained && c->capacity &&
	    hint_note_activity(c))
		irq_work_queue(&c->first);
}

/*
 * Have a thread look: it sees what there is to see, or its flag stays set. RCU
 * keeps the task from going away: hint_stop() waits for readers after it cleared
 * hint_running.
 */
void hint_kick(unsigned int cpu)
{
	struct task_struct *task;

	rcu_read_lock();
	task = per_cpu(hint_task, cpu);
	if (READ_ONCE(hint_running) && task) {
		/* Pairs with smp_store_mb() in hint_thread(). */
		smp_mb();
		WRITE_ONCE(per_cpu_ptr(&hint_cpu, cpu)->kick, true);
		wake_up_process(task);
	}
	rcu_read_unlock();
}

static void hint_timer_fn(struct timer_list *timer)
{
	hint_kick(container_of(timer, struct hint_cpu, timer)->cpu);
}

static void hint_first_fn(struct irq_work *work)
{
	struct hint_cpu *c = container_of(work, struct hint_cpu, first);
	unsigned long age = hint_min_age();

	if (!READ_ONCE(hint_running))
		return;
	if (hint_nr_captured(c) >= c->capacity / 2)
		hint_kick(c->cpu);
	if (!c->undrained)
		age = max(age, c->age);
	/* When it is ripe, and others with it. */
	timer_reduce(&c->timer, jiffies + age + hint_min_age() / 2);
}

/* Make the array that was filled the one to work on. */
static bool hint_swap(struct hint_cpu *c)
{
	long filled = local_read(&c->state) & HINT_ARRAY_1;

	if (!hint_nr_captured(c))
		return false;

	/* Before that is looked at: what it shows has to be in the array. */
	memset(&c->slots[!filled][c->capacity], 0, HINT_RECENT_BYTES);
	c->nr = local_xchg(&c->state, filled ^ HINT_ARRAY_1) & HINT_COUNT_MASK;
	c->taken = c->slots[!!filled];
	/* After the swap: no entry of the array is younger than this. */
	c->taken_at = jiffies;
	count_vm_events(PAGE_HINT_CAPTURED, c->nr);
	return true;
}

/*
 * May something in the other array be ripe by now, or will that overflow? What the
 * end of isolation brought there may have been so before; it waits no longer.
 */
static bool hint_others_wait(struct hint_cpu *c)
{
	return hint_nr_captured(c) >= c->capacity / 2 ||
	       time_after_eq(jiffies, c->taken_at + hint_min_age());
}

/* Look at entries of one zone, within one hold of its lock. */
static enum hint_verdict hint_hold(struct hint_cpu *c, struct hint_look *look)
{
	enum hint_verdict verdict = HINT_STALE;
	unsigned int order, units = 0;
	unsigned long entry, flags;
	struct zone *zone;
	struct page *page;

	rcu_read_lock();
	page = pfn_to_online_page(c->taken[c->pos] >> HINT_ORDER_BITS);
	if (!page) {
		c->pos++;
		count_vm_event(PAGE_HINT_STALE);
		goto out;
	}

	zone = page_zone(page);
	spin_lock_irqsave(&zone->lock, flags);
	look->min_age = hint_ripe_age(hint_zone_of(zone));
	for (; units < HINT_SLICE && c->pos < c->nr; c->pos++) {
		entry = c->taken[c->pos];
		page = pfn_to_online_page(entry >> HINT_ORDER_BITS);
		if (!page || page_zone(page) != zone)
			break;

		order = entry & HINT_ORDER_MASK;
		units += max(1U << order >> READ_ONCE(page_hinting_order), 1U);
		verdict = hint_range(look, zone, entry >> HINT_ORDER_BITS, order);
		/*
		 * If its zone is capped, those behind it wait with it until a
		 * batch comes back: to look at each of them each time would
		 * cost more than all the rest. What is captured meanwhile does
		 * not wait for that once it may be ripe.
		 */
		if (verdict == HINT_ZONE_CAPPED && hint_nr_captured(c)) {
			if (hint_others_wait(c))
				verdict = HINT_LOW;
			else
				look->waits = true;
		}
		if (verdict >= HINT_ZONE_CAPPED)
			break;
		if (verdict == HINT_YOUNG) {
			c->taken[look->kept++] = entry;
			continue;
		}
		/* A sweep takes what may have to wait for long. */
		if (verdict > HINT_YOUNG)
			hint_want_sweep(zone, false);
		__count_vm_event(hint_events[verdict]);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
out:
	rcu_read_unlock();
	return verdict;
}

/* What has to wait, and what was not looked at, is looked at in the next batch. */
static void hint_keep(struct hint_cpu *c, struct hint_look *look)
{
	if (look->kept || c->pos == c->nr) {
		memmove(&c->taken[look->kept], &c->taken[c->pos],
			(c->nr - c->pos) * sizeof(*c->taken));
		c->nr -= c->pos - look->kept;
		c->pos = 0;
	}
}

/* Look at the array, then at zones that want a sweep, until the batch is full. */
static enum hint_verdict hint_fill(struct hint_cpu *c, struct hint_look *look)
{
	enum hint_verdict verdict = HINT_STALE;
	struct zone *zone;

	if (!c->nr)
		hint_swap(c);

	look->since = c->taken_at;
	while (c->pos < c->nr && verdict < HINT_ZONE_CAPPED)
		verdict = hint_hold(c, look);
	hint_keep(c, look);
	if (verdict >= HINT_FULL)
		return verdict;
	if (!c->nr && hint_nr_captured(c))
		return HINT_FULL;

	for_each_populated_zone(zone) {
		do {
			verdict = hint_sweep_slice(look, zone);
			cond_resched();
		} while (verdict == HINT_TAKEN);
		if (verdict != HINT_STALE)
			return verdict;
	}
	return HINT_STALE;
}

/*
 * Pages in the CPU's page lists are free too, and those of one CPU keep the
 * blocks of others from merging. But these lists may hold an eighth of memory,
 * which is served from them while the CPU is active: emptying them then costs
 * more than all the rest of hinting. So wait until it is quiet.
 */
static void hint_drain(struct hint_cpu *c)
{
	unsigned long quiet_at = c->active_at + hint_min_age();

	if (!c->undrained)
		return;
	if (time_before(jiffies, quiet_at)) {
		timer_reduce(&c->timer, quiet_at);
		return;
	}
	c->undrained = false;
	drain_local_pages_batched();
}

/* One batch; what is left to do decides when the thread runs next. */
static void hint_thread(unsigned int cpu)
{
	struct hint_cpu *c = per_cpu_ptr(&hint_cpu, cpu);
	struct hint_look look = { };
	enum hint_verdict verdict;
	int returns;

	/* Pairs with hint_kick(). */
	smp_store_mb(c->kick, false);
	if (READ_ONCE(hint_dev_failed))
		return;

	hint_note_activity(c);
	/* Pairs with hint_put_batch(): the look sees what had come back. */
	returns = atomic_read_acquire(&hint_returns);
	look.batch = hint_get_batch();
	if (!look.batch) {
		hint_wait_for_batch(cpu);
		return;
	}

	verdict = hint_fill(c, &look);
	c->age = look.again ? look.min_age : 0;
	if (look.batch->nents)
		hint_submit(look.batch);
	else
		hint_put_batch(look.batch, false);

	if (look.capped)
		hint_wait_for_room(cpu, returns);
	if (look.waits)
		timer_reduce(&c->timer, c->taken_at + hint_min_age());
	if (verdict == HINT_FULL) {
		WRITE_ONCE(c->kick, true);
		cond_resched();
		return;
	}
	if (look.again)
		timer_reduce(&c->timer, look.next);
	hint_drain(c);
}

static int hint_should_run(unsigned int cpu)
{
	return READ_ONCE(per_cpu_ptr(&hint_cpu, cpu)->kick);
}

struct smp_hotplug_thread hint_threads = {
	.store			= &hint_task,
	.thread_should_run	= hint_should_run,
	.thread_fn		= hint_thread,
	.thread_comm		= "khintd/%u",
};

/* What a late hook or timer may find at any time is made once. */
void __init hint_cpus_init(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct hint_cpu *c = per_cpu_ptr(&hint_cpu, cpu);

		c->cpu = cpu;
		/*
		 * Not a lazy one: a CPU that goes idle has no tick, and on RT
		 * the thread that runs those is parked with the CPU.
		 */
		c->first = IRQ_WORK_INIT_HARD(hint_first_fn);
		timer_setup(&c->timer, hint_timer_fn, TIMER_PINNED);
	}
}

/* The arrays of a CPU that comes up, or was up when the threads start. */
int hint_cpu_prepare(unsigned int cpu)
{
	struct hint_cpu *c = per_cpu_ptr(&hint_cpu, cpu);
	unsigned int entries = READ_ONCE(hint_capture_entries);

	c->slots[0] = kvcalloc_node(2, entries * sizeof(long) + HINT_RECENT_BYTES,
				    GFP_KERNEL, cpu_to_node(cpu));
	if (!c->slots[0])
		return -ENOMEM;
	c->slots[1] = c->slots[0] + entries + (1 << HINT_RECENT_BITS);

	c->kick = false;
	c->undrained = false;
	c->active_at = jiffies;
	c->nr = 0;
	c->pos = 0;
	local_set(&c->state, 0);
	c->capacity = entries;
	return 0;
}

/*
 * The CPU is dead, or the threads have stopped: nobody else is in here. What it
 * had not looked at is found by a sweep, now or when the threads start again.
 */
int hint_cpu_dead(unsigned int cpu)
{
	struct hint_cpu *c = per_cpu_ptr(&hint_cpu, cpu);

	irq_work_sync(&c->first);
	timer_delete_sync(&c->timer);
	c->capacity = 0;
	count_vm_events(PAGE_HINT_STALE, c->nr - c->pos);
	kvfree(c->slots[0]);
	c->slots[0] = NULL;
	hint_sweep_forget(cpu);
	if (READ_ONCE(hint_running))
		hint_sweep_all(false);
	return 0;
}
