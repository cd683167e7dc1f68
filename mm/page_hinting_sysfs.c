// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: /sys/kernel/mm/page_hinting, described in
 * Documentation/ABI/testing/sysfs-kernel-mm-page_hinting.
 */
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "internal.h"
#include "page_hinting.h"

#define HINT_MAX_AGE_MS		(60 * MSEC_PER_SEC)
#define HINT_MIN_ENTRIES	4U
#define HINT_MAX_ENTRIES	65536U

#define HINT_ATTR_RO(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)
#define HINT_ATTR(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

static unsigned long pages_to_kb(unsigned long nr)
{
	return nr << (PAGE_SHIFT - 10);
}

/* A number between @min and @max, both included, or -EINVAL. */
static int hint_parse(const char *buf, unsigned long min, unsigned long max,
		      unsigned long *val)
{
	if (kstrtoul(buf, 0, val) || *val < min || *val > max)
		return -EINVAL;
	return 0;
}

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(hint_wanted));
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool val;
	int err = kstrtobool(buf, &val) ?: hint_set_wanted(val);

	return err ?: count;
}
HINT_ATTR(enabled);

static ssize_t order_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(page_hinting_order));
}

static ssize_t order_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	unsigned long val;
	int err = hint_parse(buf, HINT_MIN_ORDER, MAX_PAGE_ORDER, &val);

	if (err)
		return err;
	hint_set_order(val);
	return count;
}
HINT_ATTR(order);

static ssize_t min_age_ms_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(hint_min_age_ms));
}

static ssize_t min_age_ms_store(struct kobject *kobj,
				struct kobj_attribute *attr, const char *buf,
				size_t count)
{
	unsigned long val;
	int err = hint_parse(buf, 0, HINT_MAX_AGE_MS, &val);

	if (err)
		return err;
	hint_set_min_age(val);
	return count;
}
HINT_ATTR(min_age_ms);

static ssize_t max_inflight_kb_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  pages_to_kb(READ_ONCE(hint_max_inflight_pages)));
}

static ssize_t max_inflight_kb_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	unsigned long val;
	int err = hint_parse(buf, pages_to_kb(MAX_ORDER_NR_PAGES),
			     pages_to_kb(totalram_pages()), &val);

	if (err)
		return err;
	hint_set_max_inflight(val >> (PAGE_SHIFT - 10));
	return count;
}
HINT_ATTR(max_inflight_kb);

static ssize_t capture_entries_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(hint_capture_entries));
}

static ssize_t capture_entries_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	unsigned long val;
	int err = hint_parse(buf, HINT_MIN_ENTRIES, HINT_MAX_ENTRIES, &val) ?:
		  hint_set_capture_entries(val);

	return err ?: count;
}
HINT_ATTR(capture_entries);

static ssize_t inflight_kb_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  pages_to_kb(atomic_long_read(&hint_inflight)));
}
HINT_ATTR_RO(inflight_kb);

static ssize_t age_ms_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	unsigned long flags, age = hint_min_age();
	struct zone *zone;

	for_each_populated_zone(zone) {
		/* Pairs with hint_start(). */
		if (!smp_load_acquire(&hint_running))
			break;
		spin_lock_irqsave(&zone->lock, flags);
		age = max(age, hint_zone_age(hint_zone_of(zone)));
		spin_unlock_irqrestore(&zone->lock, flags);
	}
	return sysfs_emit(buf, "%u\n", jiffies_to_msecs(age));
}
HINT_ATTR_RO(age_ms);

static struct attribute *hint_attrs[] = {
	&enabled_attr.attr,
	&order_attr.attr,
	&min_age_ms_attr.attr,
	&age_ms_attr.attr,
	&max_inflight_kb_attr.attr,
	&capture_entries_attr.attr,
	&inflight_kb_attr.attr,
	NULL,
};

static const struct attribute_group hint_attr_group = {
	.name = "page_hinting",
	.attrs = hint_attrs,
};

static int __init hint_sysfs_init(void)
{
	return sysfs_create_group(mm_kobj, &hint_attr_group);
}
subsys_initcall(hint_sysfs_init);
