/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page hinting, the driver side: what a device that passes hints to a host
 * registers, and what it calls when the host has answered.
 */
#ifndef _LINUX_PAGE_HINTING_H
#define _LINUX_PAGE_HINTING_H

#include <linux/errno.h>
#include <linux/types.h>

struct scatterlist;

/* Most ranges that one call of page_hinting_dev.report() carries. */
#define PAGE_HINTING_BATCH		8

/**
 * struct page_hinting_dev - a device that tells a host about free pages
 * @report: Queue @nents free ranges for the host, each a page and a length in
 *	bytes that is a power of two of pages. The list ends at @nents and is
 *	not to be changed. Called in task context with no lock held, from
 *	several CPUs at once. Must not wait for the host. Returns 0 when the
 *	ranges were queued: the device then owns them and answers with exactly
 *	one page_hinting_done() for @sgl. Returns an error when it is of no more
 *	use, after it has said so to the user: the ranges stay with the caller,
 *	and it is not called any more, but by who is about to.
 * @max_batches: Batches of PAGE_HINTING_BATCH ranges that fit into the queue
 *	of the device at once, at least 1.
 */
struct page_hinting_dev {
	int (*report)(struct page_hinting_dev *dev, struct scatterlist *sgl,
		      unsigned int nents);
	unsigned int max_batches;
};

#ifdef CONFIG_PAGE_HINTING
bool page_hinting_wanted(void);
int page_hinting_register(struct page_hinting_dev *dev);
void page_hinting_unregister(struct page_hinting_dev *dev);
void page_hinting_done(struct scatterlist *sgl, int err);
#else
static inline bool page_hinting_wanted(void)
{
	return false;
}

static inline int page_hinting_register(struct page_hinting_dev *dev)
{
	return -EOPNOTSUPP;
}

static inline void page_hinting_unregister(struct page_hinting_dev *dev)
{
}

static inline void page_hinting_done(struct scatterlist *sgl, int err)
{
}
#endif /* CONFIG_PAGE_HINTING */
#endif /* _LINUX_PAGE_HINTING_H */
