//! CSVs of figures as `reft figure` and `reft das` write them.

/// Figures of every kind, beside what is printed.
pub const FIGURES: [(&str, &str); 4] = [
    (
        "quick/figure10",
        "source,pairs,line,layer,right,n,run\nours,8,ours,5,1,8,0a\nours,8,ours,15,0.5,8,0b\nours,16,ours,5,0.25,16,0c\n\
         paper,128,paper,5,1,,\n",
    ),
    (
        "quick/figure1",
        "source,table,line,parameters in %,score,n,run\nours,\"words, Tiny\",LoReFT,0.2,36.25,1,0a\n\
         ours,\"words, Tiny\",BitFit,2,31.5,1,0b\nReFT paper,\"words, LLaMA-7B\",LoReFT,0.031,80.2,,\n",
    ),
    (
        "quick/figure2",
        "token,layer,edit,state,relative,degrees\n0 Question,5,1.5,3,0.5,97.25\n0 Question,10,6,3,2,45\n1 :,,,,,\n2 robin,10,1,2,0.5,\n",
    ),
    ("quick/das/iia", "layer,position,accuracy,chance\n0,W,0.5,0.5\n0,X,0.875,0.5\n1,W,0.5,0.5\n1,X,1,0.5\n"),
];
