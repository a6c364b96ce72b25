package trust

import (
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Root is what a node must know beforehand to judge everything else: its cluster's name and the signing key.
type Root struct {
	Cluster string
	Key     PublicKey
}

// SignObject signs an object that is valid by itself; an invalid one is refused with spec.Problems in the chain.
func SignObject(k *SigningKey, o spec.Object) (Envelope, error) {
	if err := o.Validate().Err(); err != nil {
		return Envelope{}, fmt.Errorf("sign object %s: %w", o.Ref(), err)
	}
	return seal(PayloadObject, o, k.secret)
}

// VerifyObject returns the object of an envelope that the operator signed for this cluster.
func (r Root) VerifyObject(e Envelope) (spec.Object, error) {
	var o spec.Object
	payload, err := open(e, PayloadObject, "object", r.Key)
	if err != nil {
		return spec.Object{}, err
	}
	if err := decode(payload, "object", &o); err != nil {
		return spec.Object{}, err
	}
	subject := "object " + o.Ref().String()
	if o.Cluster != r.Cluster {
		return spec.Object{}, wrongCluster(subject, o.Cluster, r.Cluster)
	}
	if err := o.Validate().Err(); err != nil {
		return spec.Object{}, refuse(ReasonInvalid, subject, err.Error())
	}
	return o, nil
}

func wrongCluster(subject, got, want string) *Refusal {
	return refuse(ReasonWrongCluster, subject, fmt.Sprintf("belongs to cluster %q, this is %q; use one made for this cluster", clip(got), want))
}
