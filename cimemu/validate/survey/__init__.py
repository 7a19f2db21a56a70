"""The energy of published macros from the few facts that a survey lists, with an interval: `cimemu validate --csv`."""

from cimemu.validate.survey.predict import Predicted as Predicted
from cimemu.validate.survey.predict import floors as floors
from cimemu.validate.survey.predict import predict as predict
from cimemu.validate.survey.predict import quality as quality
from cimemu.validate.survey.predict import quality_by_part as quality_by_part
