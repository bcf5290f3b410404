package storetest_test

import (
	"context"
	"strconv"
	"strings"

	"github.com/surehook/webhook/store"
)

var readFlaws = []sabotage{
	{"skips one at the border of a page", "Find/PagesOfAnySize", func(s *broken) {
		find := s.find
		s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
			ds, next, err := find(ctx, queue, f, after, limit)
			if next != "" && len(ds) > 1 {
				ds = ds[:len(ds)-1]
			}
			return ds, next, err
		}
	}},
	{"pages by counting", "Find/WhatStaysIsSeenOnce", countsPages},
	{"finds the newest first", "Find/OldestFirst", func(s *broken) {
		find := s.find
		s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
			ds, next, err := find(ctx, queue, f, after, limit)
			if len(f.IDs) == 0 {
				for i, j := 0, len(ds)-1; i < j; i, j = i+1, j-1 {
					ds[i], ds[j] = ds[j], ds[i]
				}
			}
			return ds, next, err
		}
	}},
	{"ignores the filter of subjects", "Find/EachFilter", func(s *broken) {
		s.onFilters(func(f *store.Filter) { f.Subject = "" })
	}},
	{"takes an empty list of IDs for none", "Find/AnEmptyListMatchesNothing", func(s *broken) {
		s.onFilters(func(f *store.Filter) {
			if len(f.IDs) == 0 {
				f.IDs = nil
			}
		})
	}},
	{"takes an empty list of states for none", "Find/AnEmptyListMatchesNothing", func(s *broken) {
		s.onFilters(func(f *store.Filter) {
			if len(f.States) == 0 {
				f.States = nil
			}
		})
	}},
	{"folds the case of a tenant", "Bytes/OddTextIsFoundAndDistinct", func(s *broken) {
		find := s.find
		s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
			if f.Tenant == "" || len(f.Tenant) > 1 {
				return find(ctx, queue, f, after, limit)
			}
			g := f
			f.Tenant, g.Tenant = strings.ToLower(f.Tenant), strings.ToUpper(f.Tenant)
			ds, next, err := find(ctx, queue, f, after, limit)
			if f.Tenant == g.Tenant || err != nil {
				return ds, next, err
			}
			more, _, err := find(ctx, queue, g, "", limit)
			return append(ds, more...), next, err
		}
	}},
	{"reads bodies in lists", "Find/BodiesAndAttemptsOnlyByIDs", func(s *broken) {
		find := s.find
		s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
			ds, next, err := find(ctx, queue, f, after, limit)
			for i := range ds {
				if whole, ok := s.look(ds[i].ID); ok {
					ds[i].Record = whole.Record
				}
			}
			return ds, next, err
		}
	}},
	{"tells no hold of ordering keys", "Hold/IsInStats", func(s *broken) {
		s.onStats(func(x *store.Stats) {
			var held []store.Hold
			for _, h := range x.Held {
				if h.OrderKey == "" {
					held = append(held, h)
				}
			}
			x.Held = held
		})
	}},
	{"counts dead letters as queued", "Stats/FollowEachChange", func(s *broken) {
		s.onStats(func(x *store.Stats) { x.Queued += x.Dead })
	}},
	{"has no figures of the whole queue", "Stats/TotalIsTheFirstRow", func(s *broken) {
		stats := s.stats
		s.stats = func(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
			page, next, err := stats(ctx, queue, after, limit)
			if after == "" && len(page) > 0 {
				page = page[1:]
			}
			return page, next, err
		}
	}},
	{"never signals", "Wake/WhenSomethingMayBeDueSooner", func(s *broken) {
		silent := make(chan struct{})
		s.wake = func(string) <-chan struct{} { return silent }
	}},
}

func (s *broken) onFilters(change func(f *store.Filter)) {
	find := s.find
	s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
		change(&f)
		return find(ctx, queue, f, after, limit)
	}
}

func (s *broken) onStats(change func(x *store.Stats)) {
	stats := s.stats
	s.stats = func(ctx context.Context, queue, after string, limit int) ([]store.Stats, string, error) {
		page, next, err := stats(ctx, queue, after, limit)
		for i := range page {
			change(&page[i])
		}
		return page, next, err
	}
}

// countsPages makes its cursor of the number of deliveries before the page, as
// OFFSET does.
func countsPages(s *broken) {
	find := s.find
	s.find = func(ctx context.Context, queue string, f store.Filter, after string, limit int) ([]store.Delivery, string, error) {
		if limit < 1 {
			limit = 100
		}
		offset, _ := strconv.Atoi(after)
		ds, _, err := find(ctx, queue, f, "", 1<<20)
		ds = ds[min(offset, len(ds)):]
		if len(ds) <= limit {
			return ds, "", err
		}
		return ds[:limit], strconv.Itoa(offset + limit), err
	}
}
