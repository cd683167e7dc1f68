// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: the device and its batches, and what starts and stops the
 * threads; see mm/page_hinting.c for the whole.
 */
#define pr_fmt(fmt) "page_hinting: " fmt

#include <linux/cpuhotplug.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/oom.h>
#include <linux/slab.h>
#include <linux/smpboot.h>
#include <linux/string_choices.h>

#include "internal.h"
#include "page_hinting.h"
#include "page_reporting.h"

#include <trace/events/page_hinting.h>

/* How long an OOM situation, or the end of the device, waits for answers. */
#define HINT_OOM_WAIT		(HZ / 5)
#define HINT_DRAIN_WAIT		HZ

/* A batch that was away for longer is not expected any more. */
#define HINT_OVERDUE		HZ

/* Pages with the host or on the way to or from it. */
atomic_long_t hint_inflight = ATOMIC_LONG_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(hint_home);

/* Batches that have come back from a device. */
atomic_t hint_returns = ATOMIC_INIT(0);

/* Per node and zone, allocated once. */
struct hint_zone *hint_zones;

/* Batches, and which of them nobody owns. */
static struct hint_batch hint_batches[HINT_NR_BATCHES];
static unsigned long hint_free_batches;
static unsigned long hint_all_batches;

/* CPUs whose threads wait for a batch, and for room below a limit. */
static struct cpumask hint_batchless, hint_roomless;

/* The device, and whether threads run for it. */
static DEFINE_MUTEX(hint_mutex);
static struct page_hinting_dev *hint_dev;
static bool hint_dev_new;
bool hint_running;
bool hint_dev_failed;
static int hint_cpuhp_state;

/* The tunables; see Documentation/ABI/testing/sysfs-kernel-mm-page_hinting. */
unsigned long hint_max_inflight_pages __read_mostly = SZ_64M >> PAGE_SHIFT;
unsigned int hint_capture_entries = 768;
bool hint_wanted = true;

struct hint_zone *hint_zone_of(struct zone *zone)
{
	return &hint_zones[zone_to_nid(zone) * MAX_NR_ZONES + zone_idx(zone)];
}

static struct hint_zone *hint_zones_alloc(void)
{
	unsigned int i, n = nr_node_ids * MAX_NR_ZONES;
	struct hint_zone *zones = kcalloc(n, sizeof(*zones), GFP_KERNEL);

	for (i = 0; zones && i < n; i++) {
		zones[i].paused_at = jiffies - HZ;
		zones[i].waiter = -1;
	}
	return zones;
}

struct hint_batch *hint_get_batch(void)
{
	struct hint_batch *batch;
	unsigned long i, unused;

	do {
		unused = READ_ONCE(hint_free_batches);
		if (!unused)
			return NULL;
		i = __ffs(unused);
	} while (!test_and_clear_bit(i, &hint_free_batches));

	batch = &hint_batches[i];
	sg_init_table(batch->sgl, PAGE_HINTING_BATCH);
	batch->nents = 0;
	batch->zone = NULL;
	WRITE_ONCE(batch->since, jiffies);
	return batch;
}

static bool hint_all_home(void)
{
	return READ_ONCE(hint_free_batches) == hint_all_batches;
}

static void hint_kick_all(struct cpumask *waiting)
{
	unsigned int cpu;

	for_each_cpu(cpu, waiting)
		if (cpumask_test_and_clear_cpu(cpu, waiting))
			hint_kick(cpu);
}

/* @returned: it was with the device, so there is room for others now. */
void hint_put_batch(struct hint_batch *batch, bool returned)
{
	/* Whoever gets it next finds it as it was left. */
	smp_mb__before_atomic();
	set_bit(batch - hint_batches, &hint_free_batches);

	/* hint_wait_for_batch() sees it, or is seen here. */
	smp_mb__after_atomic();
	hint_kick_all(&hint_batchless);
	if (returned) {
		/* Fully ordered: so does or is hint_wait_for_room(). */
		atomic_inc_return(&hint_returns);
		hint_kick_all(&hint_roomless);
	}
	wake_up(&hint_home);
}

/* Run again when there is a batch. */
void hint_wait_for_batch(unsigned int cpu)
{
	cpumask_set_cpu(cpu, &hint_batchless);

	/* Pairs with hint_put_batch(). */
	smp_mb__after_atomic();
	if (READ_ONCE(hint_free_batches) &&
	    cpumask_test_and_clear_cpu(cpu, &hint_batchless))
		WRITE_ONCE(per_cpu(hint_cpu, cpu).kick, true);
}

/*
 * Run again when a batch comes back from the device; at once where one has done
 * so since there were @returns.
 */
void hint_wait_for_room(unsigned int cpu, int returns)
{
	cpumask_set_cpu(cpu, &hint_roomless);

	/* Pairs with hint_put_batch(). */
	smp_mb__after_atomic();
	if (atomic_read(&hint_returns) != returns &&
	    cpumask_test_and_clear_cpu(cpu, &hint_roomless))
		WRITE_ONCE(per_cpu(hint_cpu, cpu).kick, true);
}

void hint_submit(struct hint_batch *batch)
{
	unsigned int nents = batch->nents;
	int err;

	sg_mark_end(&batch->sgl[nents - 1]);
	err = hint_dev->report(hint_dev, batch->sgl, nents);
	trace_page_hinting_report(nents, err);
	if (!err)
		return;

	WRITE_ONCE(hint_dev_failed, true);
	page_hinting_done(batch->sgl, err);
}

/**
 * page_hinting_done - the answer of the host to one report()
 * @sgl: what report() was given
 * @err: 0 when all ranges were discarded; an error when the host did not say
 *	so, and never will (the device was reset)
 *
 * The pages go back to the buddy. Context: any in which zone->lock may be
 * taken, without locks that report() takes.
 */
void page_hinting_done(struct scatterlist *sgl, int err)
{
	struct hint_batch *batch = container_of(sgl, struct hint_batch, sgl[0]);

	hint_return(batch, err);
	hint_put_batch(batch, true);
}
EXPORT_SYMBOL_GPL(page_hinting_done);

/* Search all zones; @all: blocks that are marked, too. */
void hint_sweep_all(bool all)
{
	struct zone *zone;

	for_each_populated_zone(zone)
		hint_want_sweep(zone, all);
	hint_kick(cpumask_any(cpu_online_mask));
}

static int hint_start(void)
{
	int err;

	lockdep_assert_held(&hint_mutex);

	err = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "mm/page_hinting:prepare",
				hint_cpu_prepare, hint_cpu_dead);
	if (err < 0)
		return err;
	hint_cpuhp_state = err;

	err = smpboot_register_percpu_thread(&hint_threads);
	if (err) {
		cpuhp_remove_state(hint_cpuhp_state);
		return err;
	}

	/* Pairs with age_ms_show(): hint_zones is there. */
	smp_store_release(&hint_running, true);
	/* Marks are those of page reporting, and are looked for from now on. */
	if (!static_key_enabled(&page_reporting_enabled))
		static_branch_enable(&page_reporting_enabled);
	static_branch_enable(&page_hinting_capturing);
	hint_start_noting();
	/* What an earlier device was told of, the host of this one may not have. */
	hint_sweep_all(hint_dev_new);
	hint_dev_new = false;
	return 0;
}

static void hint_stop(void)
{
	lockdep_assert_held(&hint_mutex);
	if (!hint_running)
		return;

	hint_stop_noting();
	static_branch_disable(&page_hinting_capturing);
	WRITE_ONCE(hint_running, false);

	/* Nobody is in hint_kick() any more ... */
	synchronize_rcu();
	/* ... nor in the hook, preempted on PREEMPT_RT. */
	hint_pass_locks();

	smpboot_unregister_percpu_thread(&hint_threads);
	cpuhp_remove_state(hint_cpuhp_state);
	cpumask_clear(&hint_batchless);
	cpumask_clear(&hint_roomless);
}

/* Is anything on its way that is not overdue? */
static bool hint_answer_due(void)
{
	unsigned long out = hint_all_batches & ~READ_ONCE(hint_free_batches), i;

	for_each_set_bit(i, &out, HINT_NR_BATCHES)
		if (jiffies - READ_ONCE(hint_batches[i].since) < HINT_OVERDUE)
			return true;
	return false;
}

/*
 * Get some of it back that is with the host; who needs more comes again, before
 * anything is killed. A host that does not answer is not waited for.
 */
static int hint_oom_notify(struct notifier_block *nb, unsigned long unused,
			   void *freed)
{
	long before = atomic_long_read(&hint_inflight), after = before;

	hint_hold_off();
	if (!before || !hint_answer_due())
		return NOTIFY_OK;

	wait_event_timeout(hint_home,
			   (after = atomic_long_read(&hint_inflight)) < before,
			   HINT_OOM_WAIT);
	if (after < before)
		*(unsigned long *)freed += before - after;
	return NOTIFY_OK;
}

static struct notifier_block hint_oom_nb = {
	.notifier_call = hint_oom_notify,
};

static int hint_memory_notify(struct notifier_block *nb, unsigned long action,
			      void *data)
{
	/* Notifiers are called under the lock of memory hotplug. */
	static bool was_offlined;
	struct memory_notify *mem = data;

	switch (action) {
	case MEM_ONLINE:
		/* Hardly used by now, unless it was online before. */
		if (READ_ONCE(hint_running) && !was_offlined)
			hint_mark_range(mem->start_pfn, mem->nr_pages);
		break;
	case MEM_OFFLINE:
		was_offlined = true;
		/*
		 * pfn_to_online_page() refuses the range from now on. Whoever
		 * asked before is out of its read-side section after this, so
		 * that the struct pages may go.
		 */
		if (hint_zones)
			synchronize_rcu();
		break;
	}
	return NOTIFY_OK;
}

/**
 * page_hinting_wanted - is page hinting to be used where a device offers it?
 *
 * Return: false after page_hinting=off on the kernel command line or 0 in
 * /sys/kernel/mm/page_hinting/enabled; a driver then leaves its device to free
 * page reporting.
 */
bool page_hinting_wanted(void)
{
	return READ_ONCE(hint_wanted);
}
EXPORT_SYMBOL_GPL(page_hinting_wanted);

/**
 * page_hinting_register - start to hint free pages through a device
 * @dev: the device, ready for report()
 *
 * All free blocks of page_hinting_order and above are hinted once, what the host
 * knew of them before included: the host may not be the same.
 *
 * Context: task, may sleep, no CPU hotplug lock held.
 * Return: 0, -EBUSY when there is a device already or batches of the last one
 * have not come back, -EINVAL for an incomplete @dev, -ENOMEM, or what creating
 * the threads returned. After an error nothing is left behind.
 */
int page_hinting_register(struct page_hinting_dev *dev)
{
	int err;

	if (!dev->report || !dev->max_batches)
		return -EINVAL;

	guard(mutex)(&hint_mutex);

	if (hint_dev || !hint_all_home())
		return -EBUSY;

	hint_zones = hint_zones ?: hint_zones_alloc();
	if (!hint_zones)
		return -ENOMEM;

	err = register_oom_notifier(&hint_oom_nb);
	if (err)
		return err;

	hint_all_batches = GENMASK(min(dev->max_batches, HINT_NR_BATCHES) - 1, 0);
	hint_free_batches = hint_all_batches;
	hint_dev_failed = false;
	hint_dev = dev;
	hint_dev_new = true;
	if (hint_wanted)
		err = hint_start();
	if (err) {
		hint_dev = NULL;
		unregister_oom_notifier(&hint_oom_nb);
		return err;
	}
	pr_info("%s, order %u and above\n", str_on_off(hint_wanted),
		page_hinting_order);
	return 0;
}
EXPORT_SYMBOL_GPL(page_hinting_register);

/**
 * page_hinting_unregister - stop hinting through a device
 * @dev: the device; nothing happens where it is not the registered one
 *
 * Returns when report() is not called any more, and when all batches have come
 * back or have had a second to do so. What is still out then comes back through
 * page_hinting_done(), which the driver calls for it after it has reset the
 * device. Context: task, may sleep, no CPU hotplug lock held.
 */
void page_hinting_unregister(struct page_hinting_dev *dev)
{
	guard(mutex)(&hint_mutex);

	if (hint_dev != dev)
		return;

	hint_stop();
	wait_event_timeout(hint_home, hint_all_home(), HINT_DRAIN_WAIT);
	unregister_oom_notifier(&hint_oom_nb);
	hint_dev = NULL;
}
EXPORT_SYMBOL_GPL(page_hinting_unregister);

/* The tunables that have to stop, start or tell the threads. */

int hint_set_wanted(bool wanted)
{
	int err = 0;

	guard(mutex)(&hint_mutex);

	if (hint_dev && wanted && !hint_running)
		err = hint_start();
	if (hint_dev && !wanted)
		hint_stop();
	if (!err)
		WRITE_ONCE(hint_wanted, wanted);
	return err;
}

void hint_set_order(unsigned int order)
{
	guard(mutex)(&hint_mutex);

	/* Who sees the new order knows nothing of what was known of the old one. */
	if (order != page_hinting_order)
		hint_forget_all();
	WRITE_ONCE(page_hinting_order, order);
	if (hint_running)
		hint_sweep_all(false);
}

/* What waited for the old age, or below the old limit, need not do so now. */
void hint_look_all(void)
{
	unsigned int cpu;

	for_each_online_cpu(cpu)
		hint_kick(cpu);
}

void hint_set_max_inflight(unsigned long pages)
{
	WRITE_ONCE(hint_max_inflight_pages, pages);
	hint_look_all();
}

int hint_set_capture_entries(unsigned int entries)
{
	unsigned int old;
	int err;

	guard(mutex)(&hint_mutex);

	old = hint_capture_entries;
	WRITE_ONCE(hint_capture_entries, entries);
	if (!hint_running || entries == old)
		return 0;

	hint_stop();
	err = hint_start();
	if (!err)
		return 0;

	WRITE_ONCE(hint_capture_entries, old);
	if (hint_start()) {
		WRITE_ONCE(hint_wanted, false);
		pr_err("off: the threads do not start again (%d)\n", err);
	}
	return err;
}

static int __init hint_setup(char *arg)
{
	return kstrtobool(arg, &hint_wanted) == 0;
}
__setup("page_hinting=", hint_setup);

/*
 * The default order is that of a huge page, since that is what the host loses
 * when it has to split one. Where huge pages are larger than the buddy's
 * largest block, or where there are none, it is a pageblock.
 */
static int __init hint_init(void)
{
	unsigned int order = min_t(unsigned int, pageblock_order, MAX_PAGE_ORDER);

#ifdef CONFIG_HUGETLB_PAGE
	if (HUGETLB_PAGE_ORDER <= MAX_PAGE_ORDER)
		order = HUGETLB_PAGE_ORDER;
#endif
	hint_cpus_init();
	page_hinting_order = max_t(unsigned int, order, HINT_MIN_ORDER);
	return hotplug_memory_notifier(hint_memory_notify, 0);
}
core_initcall(hint_init);
