package linode

import "net/http"

// Quota says how much an account may keep in images. A zero field is the vendor's own limit, a negative one is none.
type Quota struct {
	Images       int // images of the account's own: 25
	TotalMB      int // their sizes with all copies: 150 GB
	Compressed   int // MB of one upload: 5 GB
	Uncompressed int // MB of one image: 6 GB
}

func (q Quota) withDefaults() Quota {
	for _, limit := range []struct {
		value *int
		live  int
	}{
		{&q.Images, 25}, {&q.TotalMB, 150 * 1024}, {&q.Compressed, 5 * 1024}, {&q.Uncompressed, 6 * 1024},
	} {
		switch {
		case *limit.value == 0:
			*limit.value = limit.live
		case *limit.value < 0:
			*limit.value = 1 << 30
		}
	}
	return q
}

// checkQuota refuses one more image when the account has as many as it may, or as much in them. The words are those that
// the vendor uses for instances. The caller holds the lock.
func (s *Server) checkQuota() error {
	quota := s.Quota.withDefaults()
	images, total := 0, 0
	for _, image := range s.state.Images {
		if !image.IsPublic {
			images++
			total += image.TotalSize
		}
	}
	if images >= quota.Images || total >= quota.TotalMB {
		return fail(http.StatusBadRequest, "Account Limit reached. Please open a support ticket.")
	}
	return nil
}
